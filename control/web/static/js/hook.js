// A small window into the page, for tests and for support. It can be read, never written.
//
// window.vardrum = {
//   state           where the page is: "opening" "problem" "check", then Visit's: "connecting" "waiting" "identifying"
//                   "held" "admitted" "denied" "removed" "ended" "left" "elsewhere" "replaced" "refused"
//   participant     one's own {id, role, host, display_name, state} as `welcome` said, or null
//   room            welcome.room, or null
//   participants    the last `participants`, queue: the last `queue`, speaking: the last `speaking`
//   slots           the last `slots`: [{mid, participant, source, display_name, paused,
//                   element: id of the <video> or <audio> that plays it, or null, picture: "live" | "still" (paused: the last of it) |
//                   "blank" | null}]
//   wishes          what was last wished for: {show: [{participant, source, max_height}], pin?}
//   peerConnection  the RTCPeerConnection, or null
//   ready           while one waits: whether one is connected already, without media
//   online, silent  whether the websocket is up; whether no packets come
//   offers          [{id, restart, at, answered}]: when offers went out and were answered, performance.now()
// }

/** @param read () => {state, visit, slots, room} as they are now */
export function expose(read) {
  const hook = {
    get state() {
      const { visit, screen } = read();
      return visit && screen === "visit" ? visit.state : screen;
    },
    get participant() {
      return copy(read().visit?.me ?? null);
    },
    get room() {
      return copy(read().visit?.room ?? null);
    },
    get participants() {
      return copy(read().visit?.participants ?? []);
    },
    get queue() {
      return copy(read().visit?.queue ?? []);
    },
    get speaking() {
      return copy(read().visit?.speaking ?? []);
    },
    get slots() {
      const { visit, slots } = read();
      return slots.list.map((slot) => {
        const id = slot.source === "microphone" ? `audio-${slot.mid}` : `video-${slot.source}-${slot.participant}`;
        const tile = document.getElementById(id)?.closest(".tile");
        return {
          ...slot,
          display_name: visit?.nameOf(slot.participant) ?? "",
          element: document.getElementById(id) ? id : null,
          picture: tile?.dataset.picture ?? null,
        };
      });
    },
    get wishes() {
      return copy(read().stage?.wishes.last ?? { show: [] });
    },
    get peerConnection() {
      return read().visit?.call?.peerConnection ?? null;
    },
    get ready() {
      return read().visit?.ready ?? false;
    },
    get online() {
      return read().visit?.online ?? false;
    },
    get silent() {
      return read().visit?.silent ?? false;
    },
    get offers() {
      return copy(read().visit?.offers ?? []);
    },
  };
  Object.defineProperty(window, "vardrum", { value: Object.freeze(hook), configurable: false, writable: false });
}

function copy(value) {
  return structuredClone(value);
}
