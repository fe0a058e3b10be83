//! What the shard counts. Every packet that is not passed on is counted under a named reason.

macro_rules! counts {
    ($($variant:ident = $name:literal,)*) => {
        /// A counter; those whose name starts with `drop_` are reasons why a packet went no further.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Count { $($variant,)* }

        /// The counters' names, in the order of `Count`.
        pub const NAMES: &[&str] = &[$($name,)*];
    };
}

counts! {
    PacketsIn = "packets_in",
    BytesIn = "bytes_in",
    PacketsOut = "packets_out",
    BytesOut = "bytes_out",
    RtpIn = "rtp_in",
    RtpOut = "rtp_out",
    RtcpIn = "rtcp_in",
    RtcpOut = "rtcp_out",
    StunIn = "stun_in",
    DtlsIn = "dtls_in",
    RtxIn = "rtx_in",
    RtxOut = "rtx_out",
    PaddingOut = "padding_out",
    RedRecovered = "red_recovered",
    AudioCopied = "audio_copied",
    AudioJoined = "audio_joined",
    AudioResent = "audio_resent",
    NackIn = "nack_in",
    NackOut = "nack_out",
    PliIn = "pli_in",
    PliOut = "pli_out",
    Switches = "switches",
    Held = "held",
    GsoOut = "gso_out",
    GsoRefused = "gso_refused",
    TcpOpened = "tcp_opened",
    TcpClosed = "tcp_closed",
    ConsentLost = "consent_lost",
    MediaLost = "media_lost",
    DropUnknownProtocol = "drop_unknown_protocol",
    DropUnknownAddress = "drop_unknown_address",
    DropStunMalformed = "drop_stun_malformed",
    DropStunUnknownUser = "drop_stun_unknown_user",
    DropStunRefused = "drop_stun_refused",
    DropStunRate = "drop_stun_rate",
    DropStrangerRate = "drop_stranger_rate",
    DropPeerRate = "drop_peer_rate",
    DropDtlsAddress = "drop_dtls_address",
    DropDtlsRate = "drop_dtls_rate",
    DropBeforeKeys = "drop_before_keys",
    DropRtpMalformed = "drop_rtp_malformed",
    DropRtcpMalformed = "drop_rtcp_malformed",
    DropAuthentication = "drop_authentication",
    DropReplay = "drop_replay",
    DropTooManyStreams = "drop_too_many_streams",
    DropUnknownPayloadType = "drop_unknown_payload_type",
    DropUnknownSource = "drop_unknown_source",
    DropProbe = "drop_probe",
    DropProbeUnsupported = "drop_probe_unsupported",
    DropDuplicate = "drop_duplicate",
    DropMuted = "drop_muted",
    DropNoListener = "drop_no_listener",
    DropRedMalformed = "drop_red_malformed",
    DropAwaitingKeyFrame = "drop_awaiting_key_frame",
    DropAwaitingTemplates = "drop_awaiting_templates",
    DropBeforeSwitch = "drop_before_switch",
    DropTemporalLayer = "drop_temporal_layer",
    DropSoundLate = "drop_sound_late",
    DropSilence = "drop_silence",
    DropIndexSpent = "drop_index_spent",
    DropCodecNotOffered = "drop_codec_not_offered",
    DropNotConnected = "drop_not_connected",
    DropHeldTooLong = "drop_held_too_long",
    DropHeld = "drop_held",
    DropTooLarge = "drop_too_large",
    DropResendUnavailable = "drop_resend_unavailable",
    DropResendSuppressed = "drop_resend_suppressed",
    DropRepairRate = "drop_repair_rate",
    DropPliRate = "drop_pli_rate",
    DropOutboxFull = "drop_outbox_full",
    DropSocketReceive = "drop_socket_receive",
    DropSocketSend = "drop_socket_send",
    DropEventQueueFull = "drop_event_queue_full",
    DropSeal = "drop_seal",
    DropTcpRefused = "drop_tcp_refused",
    DropTcpFraming = "drop_tcp_framing",
    DropTcpBacklog = "drop_tcp_backlog",
    DropTcpClosed = "drop_tcp_closed",
}

/// All counters of one shard; only ever grow.
#[derive(Clone)]
pub struct Counters([u64; NAMES.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; NAMES.len()])
    }
}

impl Counters {
    pub fn add(&mut self, count: Count, n: u64) {
        self.0[count as usize] += n;
    }

    pub fn one(&mut self, count: Count) {
        self.add(count, 1);
    }

    pub fn get(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    pub fn values(&self) -> &[u64] {
        &self.0
    }
}
