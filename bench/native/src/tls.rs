//! DTLS 1.2 as client with use_srtp (RFC 5764), by the system's libssl over memory: bytes in, bytes out, keys at the end.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::raw::{c_char, c_int, c_long, c_uchar, c_uint, c_void};
use std::ptr::{null, null_mut};

use vardrum_engine::srtp::Profile;

const DTLS1_2: c_long = 0xfefd;
const SET_MTU: c_int = 17;
const GET_TIMEOUT: c_int = 73;
const HANDLE_TIMEOUT: c_int = 74;
const SET_MIN_PROTO: c_int = 123;
const SET_MAX_PROTO: c_int = 124;
const OP_NO_QUERY_MTU: u64 = 1 << 12;
const VERIFY_PEER: c_int = 1;
const WANT_READ: c_int = 2;
const ZERO_RETURN: c_int = 6;
const RECEIVED_SHUTDOWN: c_int = 2;
const MTU: c_long = 1200;
const RECORD_HEADER: usize = 13;
/// Of a SHA-256 hash.
pub const FINGERPRINT: usize = 32;

#[repr(C)]
struct Opaque {
    _opaque: [u8; 0],
}

#[repr(C)]
struct SrtpProfile {
    name: *const c_char,
    id: std::os::raw::c_ulong,
}

#[repr(C)]
struct Timeval {
    seconds: i64,
    microseconds: i64,
}

type Verify = extern "C" fn(c_int, *mut Opaque) -> c_int;

#[link(name = "ssl")]
extern "C" {
    fn DTLS_client_method() -> *const Opaque;
    fn SSL_CTX_new(method: *const Opaque) -> *mut Opaque;
    fn SSL_CTX_free(context: *mut Opaque);
    fn SSL_CTX_ctrl(context: *mut Opaque, what: c_int, number: c_long, data: *mut c_void) -> c_long;
    fn SSL_CTX_set_options(context: *mut Opaque, options: u64) -> u64;
    fn SSL_CTX_set_verify(context: *mut Opaque, mode: c_int, callback: Option<Verify>);
    fn SSL_CTX_use_certificate(context: *mut Opaque, certificate: *mut Opaque) -> c_int;
    fn SSL_CTX_use_PrivateKey(context: *mut Opaque, key: *mut Opaque) -> c_int;
    fn SSL_CTX_set_tlsext_use_srtp(context: *mut Opaque, profiles: *const c_char) -> c_int;
    fn SSL_new(context: *mut Opaque) -> *mut Opaque;
    fn SSL_free(ssl: *mut Opaque);
    fn SSL_ctrl(ssl: *mut Opaque, what: c_int, number: c_long, data: *mut c_void) -> c_long;
    fn SSL_set_bio(ssl: *mut Opaque, read: *mut Opaque, write: *mut Opaque);
    fn SSL_set_connect_state(ssl: *mut Opaque);
    fn SSL_do_handshake(ssl: *mut Opaque) -> c_int;
    fn SSL_read(ssl: *mut Opaque, out: *mut c_void, len: c_int) -> c_int;
    fn SSL_shutdown(ssl: *mut Opaque) -> c_int;
    fn SSL_get_shutdown(ssl: *const Opaque) -> c_int;
    fn SSL_get_error(ssl: *const Opaque, result: c_int) -> c_int;
    fn SSL_get_selected_srtp_profile(ssl: *mut Opaque) -> *const SrtpProfile;
    fn SSL_export_keying_material(
        ssl: *mut Opaque,
        out: *mut c_uchar,
        len: usize,
        label: *const c_char,
        label_len: usize,
        context: *const c_uchar,
        context_len: usize,
        use_context: c_int,
    ) -> c_int;
    fn SSL_get1_peer_certificate(ssl: *const Opaque) -> *mut Opaque;
}

#[link(name = "crypto")]
extern "C" {
    fn BIO_s_mem() -> *const Opaque;
    fn BIO_new(method: *const Opaque) -> *mut Opaque;
    fn BIO_read(bio: *mut Opaque, out: *mut c_void, len: c_int) -> c_int;
    fn BIO_write(bio: *mut Opaque, data: *const c_void, len: c_int) -> c_int;
    fn BIO_ctrl(bio: *mut Opaque, what: c_int, number: c_long, data: *mut c_void) -> c_long;
    fn ERR_clear_error();
    fn ERR_get_error() -> std::os::raw::c_ulong;
    fn ERR_error_string_n(error: std::os::raw::c_ulong, out: *mut c_char, len: usize);
    fn EVP_PKEY_Q_keygen(library: *mut c_void, query: *const c_char, kind: *const c_char, ...) -> *mut Opaque;
    fn EVP_PKEY_free(key: *mut Opaque);
    fn EVP_sha256() -> *const Opaque;
    fn X509_new() -> *mut Opaque;
    fn X509_free(certificate: *mut Opaque);
    fn X509_set_version(certificate: *mut Opaque, version: c_long) -> c_int;
    fn X509_get_serialNumber(certificate: *mut Opaque) -> *mut Opaque;
    fn ASN1_INTEGER_set(number: *mut Opaque, value: c_long) -> c_int;
    fn X509_getm_notBefore(certificate: *const Opaque) -> *mut Opaque;
    fn X509_getm_notAfter(certificate: *const Opaque) -> *mut Opaque;
    fn X509_gmtime_adj(time: *mut Opaque, seconds: c_long) -> *mut Opaque;
    fn X509_set_pubkey(certificate: *mut Opaque, key: *mut Opaque) -> c_int;
    fn X509_get_subject_name(certificate: *const Opaque) -> *mut Opaque;
    fn X509_NAME_add_entry_by_txt(
        name: *mut Opaque,
        field: *const c_char,
        kind: c_int,
        bytes: *const c_uchar,
        len: c_int,
        at: c_int,
        set: c_int,
    ) -> c_int;
    fn X509_set_issuer_name(certificate: *mut Opaque, name: *mut Opaque) -> c_int;
    fn X509_sign(certificate: *mut Opaque, key: *mut Opaque, hash: *const Opaque) -> c_int;
    fn X509_digest(certificate: *const Opaque, hash: *const Opaque, out: *mut c_uchar, len: *mut c_uint) -> c_int;
}

/// Accepts every certificate: it is self-signed, and its fingerprint is compared after the handshake (RFC 8827, 6.5).
extern "C" fn accept(_ok: c_int, _store: *mut Opaque) -> c_int {
    1
}

fn last_error() -> String {
    let mut text = [0u8; 256];
    // SAFETY: the pointer is to 256 bytes that live through the call, which ends them with a zero.
    unsafe { ERR_error_string_n(ERR_get_error(), text.as_mut_ptr().cast(), text.len()) };
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    String::from_utf8_lossy(&text[..end]).into_owned()
}

/// What all bots of a process share: one certificate, and how they shake hands.
pub struct Context {
    context: *mut Opaque,
    /// SHA-256 of the bots' certificate, for `a=fingerprint`.
    pub fingerprint: [u8; FINGERPRINT],
}

impl Context {
    /// `profiles`: OpenSSL's names of SRTP protection profiles, in order of preference, with colons between.
    ///
    /// Errors: what libssl says, such as a profile that it does not know.
    pub fn new(profiles: &str) -> Result<Context, String> {
        let profiles = CString::new(profiles).map_err(|e| e.to_string())?;
        // SAFETY: everything made is checked before its use and freed once; the context takes references of its own.
        unsafe {
            let context = SSL_CTX_new(DTLS_client_method());
            let key = EVP_PKEY_Q_keygen(
                null_mut(),
                null(),
                b"EC\0".as_ptr().cast(),
                b"P-256\0".as_ptr().cast::<c_char>(),
            );
            if context.is_null() || key.is_null() {
                return Err(last_error());
            }
            let certificate = certificate(key);
            let mut fingerprint = [0; FINGERPRINT];
            let mut len = FINGERPRINT as c_uint;
            SSL_CTX_set_options(context, OP_NO_QUERY_MTU);
            SSL_CTX_set_verify(context, VERIFY_PEER, Some(accept));
            let done = !certificate.is_null()
                && X509_digest(certificate, EVP_sha256(), fingerprint.as_mut_ptr(), &mut len) == 1
                && SSL_CTX_ctrl(context, SET_MIN_PROTO, DTLS1_2, null_mut()) == 1
                && SSL_CTX_ctrl(context, SET_MAX_PROTO, DTLS1_2, null_mut()) == 1
                && SSL_CTX_use_certificate(context, certificate) == 1
                && SSL_CTX_use_PrivateKey(context, key) == 1
                && SSL_CTX_set_tlsext_use_srtp(context, profiles.as_ptr()) == 0; // this one says 0 when it is done
            X509_free(certificate);
            EVP_PKEY_free(key);
            if !done {
                SSL_CTX_free(context);
                return Err(last_error());
            }
            Ok(Context { context, fingerprint })
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: ours alone; handshakes hold references of their own.
        unsafe { SSL_CTX_free(self.context) };
    }
}

/// A self-signed certificate for `key`, valid from an hour ago for a day; null where libcrypto refuses.
///
/// # Safety
/// `key` is a key.
unsafe fn certificate(key: *mut Opaque) -> *mut Opaque {
    // SAFETY: a certificate's parts are its own and live as long as it does; it is freed where it is not handed out.
    unsafe {
        let certificate = X509_new();
        if certificate.is_null() {
            return certificate;
        }
        let name = X509_get_subject_name(certificate);
        let done = X509_set_version(certificate, 2) == 1
            && ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1
            && !X509_gmtime_adj(X509_getm_notBefore(certificate), -3600).is_null()
            && !X509_gmtime_adj(X509_getm_notAfter(certificate), 86_400).is_null()
            && X509_set_pubkey(certificate, key) == 1
            && X509_NAME_add_entry_by_txt(name, b"CN\0".as_ptr().cast(), 0x1001, b"bot".as_ptr(), 3, -1, 0) == 1
            && X509_set_issuer_name(certificate, name) == 1
            && X509_sign(certificate, key, EVP_sha256()) > 0;
        if done {
            return certificate;
        }
        X509_free(certificate);
        null_mut()
    }
}

/// Master keys and salts of both directions.
pub struct Keys {
    pub profile: Profile,
    pub up: (Vec<u8>, Vec<u8>),
    pub down: (Vec<u8>, Vec<u8>),
}

/// What has become of a handshake.
pub enum Progress {
    /// It waits for the server.
    Waiting,
    /// Once: there are keys.
    Keys(Box<Keys>),
    /// The server has closed.
    Closed,
}

/// One bot's handshake and the association after it.
pub struct Handshake {
    ssl: *mut Opaque,
    input: *mut Opaque,
    output: *mut Opaque,
    expected: [u8; FINGERPRINT],
    done: bool,
}

impl Handshake {
    /// `fingerprint`: of the server's certificate, from its answer.
    pub fn new(context: &Context, fingerprint: [u8; FINGERPRINT]) -> Result<Handshake, String> {
        // SAFETY: everything made is checked; the BIOs belong to the SSL once they are set.
        unsafe {
            let (ssl, input, output) = (SSL_new(context.context), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
            if ssl.is_null() || input.is_null() || output.is_null() {
                return Err(last_error());
            }
            // An empty one says "try again later" (BIO_C_SET_BUF_MEM_EOF_RETURN), not "the end".
            BIO_ctrl(input, 130, -1, null_mut());
            BIO_ctrl(output, 130, -1, null_mut());
            SSL_set_bio(ssl, input, output);
            SSL_ctrl(ssl, SET_MTU, MTU, null_mut());
            SSL_set_connect_state(ssl);
            Ok(Handshake {
                ssl,
                input,
                output,
                expected: fingerprint,
                done: false,
            })
        }
    }

    /// Takes a datagram (empty to begin). Then see [`Handshake::out`].
    ///
    /// Errors: the handshake has failed for good.
    pub fn take(&mut self, datagram: &[u8]) -> Result<Progress, String> {
        // SAFETY: pointers are to memory that lives through the calls, with its length.
        unsafe {
            ERR_clear_error();
            if !datagram.is_empty() {
                BIO_write(self.input, datagram.as_ptr().cast(), datagram.len() as c_int);
            }
            if self.done {
                let mut scratch = [0u8; 256];
                let read = SSL_read(self.ssl, scratch.as_mut_ptr().cast(), scratch.len() as c_int);
                let closed = SSL_get_shutdown(self.ssl) & RECEIVED_SHUTDOWN != 0
                    || (read <= 0 && SSL_get_error(self.ssl, read) == ZERO_RETURN);
                return Ok(if closed { Progress::Closed } else { Progress::Waiting });
            }
            match SSL_do_handshake(self.ssl) {
                1 => {
                    self.done = true;
                    self.verify()?;
                    self.keys().map(|keys| Progress::Keys(Box::new(keys)))
                }
                result if SSL_get_error(self.ssl, result) == WANT_READ => Ok(Progress::Waiting),
                _ => Err(last_error()),
            }
        }
    }

    fn verify(&self) -> Result<(), String> {
        let (mut found, mut len) = ([0; FINGERPRINT], FINGERPRINT as c_uint);
        // SAFETY: the certificate is ours to free, and the hash has room for a SHA-256.
        let made = unsafe {
            let certificate = SSL_get1_peer_certificate(self.ssl);
            let made =
                !certificate.is_null() && X509_digest(certificate, EVP_sha256(), found.as_mut_ptr(), &mut len) == 1;
            X509_free(certificate);
            made
        };
        if made && found == self.expected {
            Ok(())
        } else {
            Err("the server's certificate is not the one in its answer".into())
        }
    }

    fn keys(&self) -> Result<Keys, String> {
        let label = b"EXTRACTOR-dtls_srtp";
        // SAFETY: what libssl gives lives as long as it does, and the buffer has the length that is said.
        let (profile, material) = unsafe {
            let selected = SSL_get_selected_srtp_profile(self.ssl);
            if selected.is_null() {
                return Err("no SRTP profile was agreed on".into());
            }
            let profile = Profile::from_u16((*selected).id as u16).ok_or("an SRTP profile that was not offered")?;
            let mut material = vec![0; 2 * (profile.key_len() + profile.salt_len())];
            let made = SSL_export_keying_material(
                self.ssl,
                material.as_mut_ptr(),
                material.len(),
                label.as_ptr().cast(),
                label.len(),
                null(),
                0,
                0,
            );
            if made != 1 {
                return Err(last_error());
            }
            (profile, material)
        };
        let (keys, salts) = material.split_at(2 * profile.key_len());
        let (up_key, down_key) = keys.split_at(profile.key_len());
        let (up_salt, down_salt) = salts.split_at(profile.salt_len());
        Ok(Keys {
            profile,
            up: (up_key.to_vec(), up_salt.to_vec()),
            down: (down_key.to_vec(), down_salt.to_vec()),
        })
    }

    /// Hands over what is to be sent, as datagrams of whole records.
    pub fn out(&mut self, mut send: impl FnMut(&[u8])) {
        let mut bytes = Vec::new();
        let mut chunk = [0u8; 2048];
        loop {
            // SAFETY: the buffer has the length that is said.
            let read = unsafe { BIO_read(self.output, chunk.as_mut_ptr().cast(), chunk.len() as c_int) };
            match usize::try_from(read) {
                Ok(read) if read > 0 => bytes.extend_from_slice(&chunk[..read]),
                _ => break,
            }
        }
        let (mut start, mut end) = (0, 0);
        while let Some(header) = bytes.get(end..end + RECORD_HEADER) {
            let next = end + RECORD_HEADER + usize::from(u16::from_be_bytes([header[11], header[12]]));
            if next - start > MTU as usize && end > start {
                send(&bytes[start..end]);
                start = end;
            }
            end = next.min(bytes.len());
        }
        if end > start {
            send(&bytes[start..end]);
        }
    }

    /// Microseconds until the last flight is to be sent again; `None` once it was answered.
    pub fn timeout(&mut self) -> Option<u64> {
        let mut left = Timeval {
            seconds: 0,
            microseconds: 0,
        };
        let place: *mut Timeval = &mut left;
        // SAFETY: the pointer is to a timeval that lives through the call.
        match unsafe { SSL_ctrl(self.ssl, GET_TIMEOUT, 0, place.cast()) } {
            1 => Some(left.seconds as u64 * 1_000_000 + left.microseconds as u64),
            _ => None,
        }
    }

    /// Sends the last flight again where its time has come. Then see [`Handshake::out`].
    pub fn repeat(&mut self) {
        // SAFETY: no pointers but our own object.
        unsafe { SSL_ctrl(self.ssl, HANDLE_TIMEOUT, 0, null_mut()) };
    }

    /// Says goodbye (close_notify). Then see [`Handshake::out`].
    pub fn close(&mut self) {
        if self.done {
            // SAFETY: no pointers but our own object.
            unsafe { SSL_shutdown(self.ssl) };
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        // SAFETY: ours alone, and its BIOs go with it.
        unsafe { SSL_free(self.ssl) };
    }
}
