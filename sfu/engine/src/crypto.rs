//! The few things needed from the system's libcrypto (OpenSSL 3.0 or later), behind safe types.
//!
//! Each type keeps what its key makes for the key's whole life, so a packet costs no allocation and no lock: only the
//! IV is set anew, or a prepared hash copied. Lengths are checked here; a call that libcrypto refuses although its arguments
//! were in order can't be answered by sending something half sealed, so sealing then panics (which never crosses the
//! C ABI) and opening says "not authentic".
#![allow(unsafe_code)]

use std::os::raw::{c_int, c_uchar, c_void};
use std::ptr::{null, null_mut};

/// Bytes of an AES-GCM authentication tag as SRTP uses it (RFC 7714, section 13.2).
pub const TAG: usize = 16;
/// Bytes of an HMAC-SHA1 value (RFC 2104).
pub const SHA1: usize = 20;

const SHA1_BLOCK: usize = 64;
const GET_TAG: c_int = 0x10; // EVP_CTRL_AEAD_GET_TAG in openssl/evp.h
const SET_TAG: c_int = 0x11; // EVP_CTRL_AEAD_SET_TAG

#[repr(C)]
struct CipherCtx {
    _opaque: [u8; 0],
}

/// libcrypto's `SHA_CTX` (openssl/sha.h): five words of hash, two of length, a block, how much of it is filled.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sha1State([u32; 24]);

#[link(name = "crypto")]
extern "C" {
    fn EVP_CIPHER_CTX_new() -> *mut CipherCtx;
    fn EVP_CIPHER_CTX_free(ctx: *mut CipherCtx);
    fn EVP_CIPHER_CTX_ctrl(ctx: *mut CipherCtx, what: c_int, number: c_int, data: *mut c_void) -> c_int;
    fn EVP_aes_128_gcm() -> *const c_void;
    fn EVP_aes_256_gcm() -> *const c_void;
    fn EVP_aes_128_ctr() -> *const c_void;
    fn EVP_aes_256_ctr() -> *const c_void;
    fn EVP_CipherInit_ex(
        ctx: *mut CipherCtx,
        cipher: *const c_void,
        engine: *mut c_void,
        key: *const c_uchar,
        iv: *const c_uchar,
        seal: c_int,
    ) -> c_int;
    fn EVP_CipherUpdate(
        ctx: *mut CipherCtx,
        out: *mut c_uchar,
        written: *mut c_int,
        data: *const c_uchar,
        len: c_int,
    ) -> c_int;
    fn EVP_CipherFinal_ex(ctx: *mut CipherCtx, out: *mut c_uchar, written: *mut c_int) -> c_int;

    fn SHA1_Init(state: *mut Sha1State) -> c_int;
    fn SHA1_Update(state: *mut Sha1State, data: *const c_void, len: usize) -> c_int;
    fn SHA1_Final(digest: *mut c_uchar, state: *mut Sha1State) -> c_int;

    fn CRYPTO_memcmp(a: *const c_void, b: *const c_void, len: usize) -> c_int;
    fn OPENSSL_cleanse(data: *mut c_void, len: usize);
    fn RAND_bytes(data: *mut c_uchar, len: c_int) -> c_int;
}

/// Why a cipher could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CryptoError {
    /// The key has neither 16 nor 32 bytes.
    KeyLength,
    /// libcrypto has no such cipher or no memory for it.
    Library,
}

/// One `EVP_CIPHER_CTX`, freed (and its key wiped) on drop.
struct Cipher(*mut CipherCtx);

// SAFETY: the context is owned by this value alone and libcrypto ties it to no thread.
unsafe impl Send for Cipher {}

impl Cipher {
    fn new(kind: *const c_void, key: &[u8]) -> Result<Cipher, CryptoError> {
        // SAFETY: `kind` is one of libcrypto's static ciphers, whose key length the callers have matched to `key`;
        // a null context is checked for before use.
        unsafe {
            let cipher = Cipher(EVP_CIPHER_CTX_new());
            if cipher.0.is_null() || EVP_CipherInit_ex(cipher.0, kind, null_mut(), key.as_ptr(), null(), 1) != 1 {
                return Err(CryptoError::Library);
            }
            Ok(cipher)
        }
    }

    /// Begins a packet: same key, new IV. `iv` must have the length of the cipher's IV.
    fn restart(&mut self, iv: &[u8], seal: bool) -> bool {
        // SAFETY: the context is live; both callers pass an IV of their cipher's length (12 for GCM, 16 for CTR).
        unsafe { EVP_CipherInit_ex(self.0, null(), null_mut(), null(), iv.as_ptr(), c_int::from(seal)) == 1 }
    }

    /// Bytes that are authenticated only.
    fn associate(&mut self, aad: &[u8]) -> bool {
        let (mut written, len) = (0, c_int::try_from(aad.len()).expect("longer than any packet"));
        // SAFETY: without an output the call only reads `len` bytes of `aad`.
        aad.is_empty() || unsafe { EVP_CipherUpdate(self.0, null_mut(), &mut written, aad.as_ptr(), len) == 1 }
    }

    /// Encrypts or decrypts in place.
    fn transform(&mut self, data: &mut [u8]) -> bool {
        let (mut written, len) = (0, c_int::try_from(data.len()).expect("longer than any packet"));
        let start = data.as_mut_ptr();
        // SAFETY: both are stream modes: they write exactly `len` bytes, and exact overlap of in and out is allowed.
        data.is_empty() || unsafe { EVP_CipherUpdate(self.0, start, &mut written, start, len) == 1 && written == len }
    }

    /// Ends a GCM packet: makes the tag when sealing, checks it when opening.
    fn finish(&mut self) -> bool {
        let (mut written, mut unused) = (0, [0u8; 16]);
        // SAFETY: a stream mode has nothing left to write; there would be room for a whole block.
        unsafe { EVP_CipherFinal_ex(self.0, unused.as_mut_ptr(), &mut written) == 1 }
    }

    fn tag(&mut self, what: c_int, tag: &mut [u8; TAG]) -> bool {
        // SAFETY: `tag` has the 16 bytes that the call reads (SET_TAG) or writes (GET_TAG).
        unsafe { EVP_CIPHER_CTX_ctrl(self.0, what, TAG as c_int, tag.as_mut_ptr().cast()) == 1 }
    }
}

impl Drop for Cipher {
    fn drop(&mut self) {
        // SAFETY: made by `EVP_CIPHER_CTX_new` (null is allowed) and freed once.
        unsafe { EVP_CIPHER_CTX_free(self.0) }
    }
}

/// AES in Galois/Counter Mode with one key (NIST SP 800-38D), 96-bit IV, 128-bit tag.
pub struct AesGcm(Cipher);

impl AesGcm {
    /// `key`: 16 or 32 bytes.
    pub fn new(key: &[u8]) -> Result<AesGcm, CryptoError> {
        // SAFETY: these return pointers to static tables.
        let kind = match key.len() {
            16 => unsafe { EVP_aes_128_gcm() },
            32 => unsafe { EVP_aes_256_gcm() },
            _ => return Err(CryptoError::KeyLength),
        };
        Cipher::new(kind, key).map(AesGcm)
    }

    /// Encrypts `data` in place and returns the tag over it and `aad`. An `iv` must never be used twice with a key.
    ///
    /// # Panics
    /// When libcrypto fails, rather than return something that isn't sealed.
    pub fn seal(&mut self, iv: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; TAG] {
        let (cipher, mut tag) = (&mut self.0, [0; TAG]);
        let sealed = cipher.restart(iv, true)
            && cipher.associate(aad)
            && cipher.transform(data)
            && cipher.finish()
            && cipher.tag(GET_TAG, &mut tag);
        assert!(sealed, "libcrypto could not seal a packet");
        tag
    }

    /// Decrypts `data` in place; `false` when `tag` doesn't fit, and then what `data` holds must not be used.
    #[must_use]
    pub fn open(&mut self, iv: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8; TAG]) -> bool {
        let (cipher, mut tag) = (&mut self.0, *tag);
        cipher.restart(iv, false)
            && cipher.tag(SET_TAG, &mut tag)
            && cipher.associate(aad)
            && cipher.transform(data)
            && cipher.finish()
    }
}

/// AES in counter mode with one key: SRTP's key stream and key derivation (RFC 3711, sections 4.1.1 and 4.3.3).
pub struct AesCtr(Cipher);

impl AesCtr {
    /// `key`: 16 or 32 bytes.
    pub fn new(key: &[u8]) -> Result<AesCtr, CryptoError> {
        // SAFETY: these return pointers to static tables.
        let kind = match key.len() {
            16 => unsafe { EVP_aes_128_ctr() },
            32 => unsafe { EVP_aes_256_ctr() },
            _ => return Err(CryptoError::KeyLength),
        };
        Cipher::new(kind, key).map(AesCtr)
    }

    /// Combines `data` in place with the key stream that begins at counter block `iv`.
    ///
    /// # Panics
    /// When libcrypto fails, rather than leave `data` as it was.
    pub fn apply(&mut self, iv: &[u8; 16], data: &mut [u8]) {
        let applied = self.0.restart(iv, true) && self.0.transform(data);
        assert!(applied, "libcrypto could not run AES-CTR");
    }
}

/// HMAC-SHA1 with one key (RFC 2104).
///
/// It keeps the hash as it is after the padded key, and starts each value from a copy of those 96 bytes. That takes
/// libcrypto's plain SHA-1 calls: its newer digest and MAC interfaces allocate for each value, and hash more.
pub struct HmacSha1 {
    inner: Sha1State,
    outer: Sha1State,
}

impl HmacSha1 {
    /// `key`: of any length; more than 64 bytes are hashed first.
    pub fn new(key: &[u8]) -> HmacSha1 {
        let mut block = [0; SHA1_BLOCK];
        if key.len() > SHA1_BLOCK {
            block[..SHA1].copy_from_slice(&Sha1State::new().with(key).finish());
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let padded = |pad: u8| {
            let mut block = block.map(|byte| byte ^ pad);
            let state = Sha1State::new().with(&block);
            wipe(&mut block);
            state
        };
        let (inner, outer) = (padded(0x36), padded(0x5c));
        wipe(&mut block);
        HmacSha1 { inner, outer }
    }

    /// The value over `parts`, one after the other.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; SHA1] {
        let inner = parts.iter().fold(self.inner, |state, part| state.with(part)).finish();
        self.outer.with(&inner).finish()
    }
}

impl Drop for HmacSha1 {
    fn drop(&mut self) {
        for state in [&mut self.inner, &mut self.outer] {
            // SAFETY: writes the 96 bytes of a value for which all bytes are valid.
            unsafe { OPENSSL_cleanse((state as *mut Sha1State).cast(), std::mem::size_of::<Sha1State>()) }
        }
    }
}

impl Sha1State {
    fn new() -> Sha1State {
        let mut state = Sha1State::default();
        // SAFETY: `state` has the size and alignment of a SHA_CTX, which this call fills.
        assert_eq!(unsafe { SHA1_Init(&mut state) }, 1, "libcrypto has no SHA-1");
        state
    }

    /// This state after `data`.
    fn with(mut self, data: &[u8]) -> Sha1State {
        // SAFETY: the state was set up by `new`; reads `data.len()` bytes of `data`.
        assert_eq!(
            unsafe { SHA1_Update(&mut self, data.as_ptr().cast(), data.len()) },
            1,
            "libcrypto can't hash"
        );
        self
    }

    fn finish(mut self) -> [u8; SHA1] {
        let mut digest = [0; SHA1];
        // SAFETY: the state was set up by `new`; writes 20 bytes.
        assert_eq!(
            unsafe { SHA1_Final(digest.as_mut_ptr(), &mut self) },
            1,
            "libcrypto can't hash"
        );
        digest
    }
}

/// Whether `a` and `b` are equal, in a time that depends on their lengths only.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    // SAFETY: both have the length that is compared.
    a.len() == b.len() && unsafe { CRYPTO_memcmp(a.as_ptr().cast(), b.as_ptr().cast(), a.len()) == 0 }
}

/// Overwrites key material in a way that the compiler keeps.
pub fn wipe(secret: &mut [u8]) {
    // SAFETY: writes `secret.len()` bytes of `secret`.
    unsafe { OPENSSL_cleanse(secret.as_mut_ptr().cast(), secret.len()) }
}

/// Fills `buf` from the system's randomness. Only the I/O edge calls this; everything else is handed its bytes.
///
/// # Panics
/// When there is no randomness: nothing secret may then be made.
pub fn random(buf: &mut [u8]) {
    let len = c_int::try_from(buf.len()).expect("less than 2 GiB of randomness");
    // SAFETY: writes `len` bytes of `buf`.
    assert_eq!(
        unsafe { RAND_bytes(buf.as_mut_ptr(), len) },
        1,
        "the system has no randomness"
    );
}

/// Reads the files in `tests/vectors`, for this file's and its neighbours' tests.
#[cfg(test)]
pub(crate) mod vectors {
    use std::collections::HashMap;

    /// The fields of one file: `name = hex`, continued on lines that begin with a space.
    pub(crate) struct Vectors(HashMap<String, Vec<u8>>);

    impl Vectors {
        pub(crate) fn read(text: &str) -> Vectors {
            let (mut fields, mut name) = (HashMap::<String, Vec<u8>>::new(), String::new());
            for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
                let value = match line.split_once('=') {
                    Some((key, value)) => {
                        name = key.trim().to_owned();
                        value
                    }
                    None => line,
                };
                fields.entry(name.clone()).or_default().extend(hex(value));
            }
            Vectors(fields)
        }

        pub(crate) fn get(&self, name: &str) -> Vec<u8> {
            self.0.get(name).unwrap_or_else(|| panic!("no vector {name}")).clone()
        }
    }

    /// Bytes from hexadecimal digits; everything else is passed over.
    pub(crate) fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::vectors::{hex, Vectors};
    use super::*;

    #[test]
    fn counter_mode_gives_the_key_stream_of_rfc_3711() {
        let vectors = Vectors::read(include_str!("../../../tests/vectors/rfc3711.txt"));
        let mut iv = [0; 16];
        iv.copy_from_slice(&vectors.get("keystream_iv"));
        let mut stream = vec![0; 0xff02 * 16];
        AesCtr::new(&vectors.get("keystream_key"))
            .unwrap()
            .apply(&iv, &mut stream);
        assert_eq!(stream[..48], vectors.get("keystream_first")[..]);
        assert_eq!(stream[0xfeff * 16..], vectors.get("keystream_last")[..]);
    }

    #[test]
    fn one_gcm_context_seals_and_opens_in_any_order() {
        let mut gcm = AesGcm::new(&[7; 16]).unwrap();
        let mut packets = Vec::new();
        for n in 0..4u8 {
            let mut data = vec![n; 20 * usize::from(n)];
            let tag = gcm.seal(&[n; 12], &[n; 5], &mut data);
            packets.push((n, data, tag));
        }
        for (n, mut data, tag) in packets.into_iter().rev() {
            assert!(
                !gcm.open(&[n; 12], &[n; 4], &mut data.clone(), &tag),
                "other associated data"
            );
            assert!(!gcm.open(&[n + 1; 12], &[n; 5], &mut data.clone(), &tag), "other IV");
            assert!(gcm.open(&[n; 12], &[n; 5], &mut data, &tag));
            assert!(data.iter().all(|&byte| byte == n));
            let again = gcm.seal(&[n; 12], &[n; 5], &mut data);
            assert_eq!(again, tag);
        }
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        for len in [0, 15, 17, 24, 31, 33] {
            assert_eq!(
                AesGcm::new(&vec![0; len]).err(),
                Some(CryptoError::KeyLength),
                "{} bytes",
                len
            );
            assert_eq!(
                AesCtr::new(&vec![0; len]).err(),
                Some(CryptoError::KeyLength),
                "{} bytes",
                len
            );
        }
    }

    #[test]
    fn hmac_gives_the_values_of_rfc_2202_each_time_it_is_asked() {
        let long = [0xaa; 80];
        let cases: [(&[u8], &[u8], &str); 4] = [
            (&[0x0b; 20], b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            ),
            (&[0xaa; 20], &[0xdd; 50], "125d7342b9ac11cd91a39af48aa17b4f63f175d3"),
            (
                &long,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "aa4ae5e15272d00e95705637ce8a3b55ed402112",
            ),
        ];
        for (key, data, expected) in cases {
            let hmac = HmacSha1::new(key);
            assert_eq!(hmac.sign(&[data])[..], hex(expected)[..]);
            let (head, tail) = data.split_at(3);
            assert_eq!(hmac.sign(&[head, &[], tail])[..], hex(expected)[..]);
        }
    }

    #[test]
    fn equal_compares_all_bytes_and_the_length() {
        assert!(equal(&[], &[]));
        assert!(equal(&[1, 2], &[1, 2]));
        assert!(!equal(&[1, 2], &[1, 3]));
        assert!(!equal(&[1, 2], &[1, 2, 3]));
    }

    #[test]
    fn randomness_differs_each_time() {
        let (mut a, mut b) = ([0; 16], [0; 16]);
        random(&mut a);
        random(&mut b);
        assert_ne!(a, b);
    }
}
