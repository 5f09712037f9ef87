//! Error numbers by their names, as workloads and reports spell them.

use crate::names::did_you_mean;

/// The name of an error number; `errno 524` for one that has none.
pub(crate) fn name(code: i32) -> String {
    NAMES
        .iter()
        .find(|(errno, _)| *errno == code)
        .map_or_else(|| format!("errno {code}"), |(_, name)| (*name).to_owned())
}

/// Whether [`name`] ever says this; what is wrong with it otherwise.
pub(crate) fn check(said: &str) -> Result<(), String> {
    let code = said
        .strip_prefix("errno ")
        .and_then(|code| code.parse().ok());
    if NAMES.iter().any(|(_, name)| *name == said) || code.is_some_and(|code| name(code) == said) {
        return Ok(());
    }
    let names = NAMES.iter().map(|(_, name)| *name);
    let near = did_you_mean(said, names).unwrap_or_else(|| "they are called as in EIO".to_owned());
    Err(format!("there is no error `{said}`: {near}"))
}

/// The names of the C library's constants, with these.
macro_rules! names {
    ($($name:ident,)*) => {
        &[$((libc::$name, stringify!($name)),)*]
    };
}

/// All that x86 has, in the order of their numbers; of two names for one number the
/// usual one.
#[rustfmt::skip]
const NAMES: &[(i32, &str)] = names![
    EPERM, ENOENT, ESRCH, EINTR, EIO, ENXIO, E2BIG, ENOEXEC, EBADF, ECHILD, EAGAIN, ENOMEM,
    EACCES, EFAULT, ENOTBLK, EBUSY, EEXIST, EXDEV, ENODEV, ENOTDIR, EISDIR, EINVAL, ENFILE,
    EMFILE, ENOTTY, ETXTBSY, EFBIG, ENOSPC, ESPIPE, EROFS, EMLINK, EPIPE, EDOM, ERANGE,
    EDEADLK, ENAMETOOLONG, ENOLCK, ENOSYS, ENOTEMPTY, ELOOP, ENOMSG, EIDRM, ECHRNG,
    EL2NSYNC, EL3HLT, EL3RST, ELNRNG, EUNATCH, ENOCSI, EL2HLT, EBADE, EBADR, EXFULL, ENOANO,
    EBADRQC, EBADSLT, EBFONT, ENOSTR, ENODATA, ETIME, ENOSR, ENONET, ENOPKG, EREMOTE,
    ENOLINK, EADV, ESRMNT, ECOMM, EPROTO, EMULTIHOP, EDOTDOT, EBADMSG, EOVERFLOW, ENOTUNIQ,
    EBADFD, EREMCHG, ELIBACC, ELIBBAD, ELIBSCN, ELIBMAX, ELIBEXEC, EILSEQ, ERESTART,
    ESTRPIPE, EUSERS, ENOTSOCK, EDESTADDRREQ, EMSGSIZE, EPROTOTYPE, ENOPROTOOPT,
    EPROTONOSUPPORT, ESOCKTNOSUPPORT, EOPNOTSUPP, EPFNOSUPPORT, EAFNOSUPPORT, EADDRINUSE,
    EADDRNOTAVAIL, ENETDOWN, ENETUNREACH, ENETRESET, ECONNABORTED, ECONNRESET, ENOBUFS,
    EISCONN, ENOTCONN, ESHUTDOWN, ETOOMANYREFS, ETIMEDOUT, ECONNREFUSED, EHOSTDOWN,
    EHOSTUNREACH, EALREADY, EINPROGRESS, ESTALE, EUCLEAN, ENOTNAM, ENAVAIL, EISNAM,
    EREMOTEIO, EDQUOT, ENOMEDIUM, EMEDIUMTYPE, ECANCELED, ENOKEY, EKEYEXPIRED, EKEYREVOKED,
    EKEYREJECTED, EOWNERDEAD, ENOTRECOVERABLE, ERFKILL, EHWPOISON,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_numbers_have_names_or_are_told_as_numbers() {
        assert_eq!(name(libc::EUCLEAN), "EUCLEAN");
        // Linux leaves out these two.
        for code in (1..=133).filter(|code| ![41, 58].contains(code)) {
            let name = name(code);
            assert!(!name.starts_with("errno"), "{code}");
            check(&name).unwrap();
        }
        assert_eq!(name(524), "errno 524");
        check("errno 524").unwrap();
        for wrong in ["", "eio", "errno 5", "errno 117", "errno x"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        let error = check("ENOSPACE").unwrap_err();
        assert_eq!(
            error,
            "there is no error `ENOSPACE`: did you mean `ENOSPC`?"
        );
    }
}
