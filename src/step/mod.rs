//! What a workload can ask for, step by step. This is vocabulary and does
//! nothing: a workload is a list of it, the link carries it to the guest as
//! JSON, the agent (`guest::agent`) and the driver of a trial carry it out.
//!
//! A guest step lives in two places: its family's file here and the file of
//! the same name in `guest::agent`. In YAML and JSON families do not show.
//!
//! Paths of steps are relative and begin with a mount's name: `a/victim` is
//! the file `victim` in this trial's own directory on the mount `a`. Absolute
//! paths name files of the guest itself.
#![forbid(clippy::disallowed_methods)]

mod counters;
pub(crate) mod errno;
mod family;
mod faults;
mod handles;
mod host;
mod kernel;
mod medium;
mod mounts;
mod paths;
mod programs;
mod series;
mod storms;
pub mod values;

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, VariantAccess, Visitor,
};
use serde::{Deserialize, Serialize, Serializer, forward_to_deserialize_any};
use strum::VariantNames;

use family::Family;

pub use counters::{CounterStep, PIECE};
pub use faults::FaultStep;
pub use handles::{HandleStep, OpenFlag};
pub use host::{HostStep, RECOVERY};
pub use kernel::{Caches, KernelStep};
pub use medium::Medium;
pub use mounts::MountStep;
pub use paths::PathStep;
pub use programs::ProgramStep;
pub use series::SeriesStep;
pub use storms::{BLOCK, Mix, Storm, StormStep};

impl GuestStep {
    /// How long it takes, or may take, by itself, whatever else it meets. Of most
    /// steps nobody can say.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        match self {
            Self::Path(PathStep::WaitSize { within, .. }) => *within,
            Self::Handle(HandleStep::List {
                kill_after: Some(time),
                ..
            }) => *time,
            _ => Duration::ZERO,
        }
    }
}

/// Defines [`GuestStep`] over its families: a step's name is looked for in all
/// of them, and everything else is the family's own.
macro_rules! families {
    ($($(#[$about:meta])* $family:ident($step:ident),)*) => {
        /// Something the agent does inside the guest.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum GuestStep {
            $($(#[$about])* $family($step),)*
        }

        /// The names of all steps.
        static NAMES: LazyLock<Vec<&'static str>> =
            LazyLock::new(|| [$($step::VARIANTS),*].concat());

        impl GuestStep {
            /// The step's name as the YAML has it.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$family(step) => step.into(),)*
                }
            }

            /// What it is about, for labels: a path, a handle, a mount.
            #[must_use]
            pub fn subject(&self) -> Option<&str> {
                match self {
                    $(Self::$family(step) => step.subject(),)*
                }
            }
        }

        impl Serialize for GuestStep {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$family(step) => step.serialize(out),)*
                }
            }
        }

        impl<'de> Visitor<'de> for StepVisitor {
            type Value = GuestStep;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a step of the guest")
            }

            fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<GuestStep, A::Error> {
                let (name, content) = data.variant_seed(Name)?;
                $(if $step::VARIANTS.contains(&name) {
                    return $step::deserialize(Named { name, content }).map(GuestStep::$family);
                })*
                Err(A::Error::unknown_variant(name, &NAMES))
            }
        }

        $(impl From<$step> for GuestStep {
            fn from(step: $step) -> Self {
                Self::$family(step)
            }
        })*
    };
}

families! {
    /// Mounting, unmounting, flushing a whole file system.
    Mount(MountStep),
    /// Files that stay open from one step to the next.
    Handle(HandleStep),
    /// Files and directories by their paths.
    Path(PathStep),
    /// Series of files.
    Series(SeriesStep),
    /// Parameters and caches of the kernel, SysRq.
    Kernel(KernelStep),
    /// Many writers at once.
    Storm(StormStep),
    /// Failures provoked in the kernel.
    Fault(FaultStep),
    /// What the kernel says and counts.
    Counter(CounterStep),
    /// Programs of the root file system.
    Program(ProgramStep),
}

impl<'de> Deserialize<'de> for GuestStep {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_enum("GuestStep", &NAMES, StepVisitor)
    }
}

struct StepVisitor;

/// Reads a step's name.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<&'static str, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a step of the guest")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<&'static str, E> {
        let known = NAMES.iter().find(|name| **name == text);
        known
            .copied()
            .ok_or_else(|| E::unknown_variant(text, &NAMES))
    }
}

/// An enum value whose name has been read, for the family that it is of.
struct Named<A> {
    name: &'static str,
    content: A,
}

impl<'de, A: VariantAccess<'de>> Deserializer<'de> for Named<A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes
        byte_buf option unit unit_struct newtype_struct seq tuple tuple_struct map
        struct enum identifier ignored_any
    }
}

impl<'de, A: VariantAccess<'de>> EnumAccess<'de> for Named<A> {
    type Error = A::Error;
    type Variant = A;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, A), A::Error> {
        Ok((
            seed.deserialize(self.name.into_deserializer())?,
            self.content,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How steps are spelled in recorded runs and in workloads: one of each.
    const SPELLED: &[&str] = &[
        r#"{"sysctl":{"vm.dirty_writeback_centisecs":"0"}}"#,
        r#"{"mount":{"name":"a","options":["noshare"],"local":false}}"#,
        r#"{"mount":{"name":"a","options":[],"disk_options":["ro"],"local":false}}"#,
        r#"{"remount":{"name":"a","options":["ro"]}}"#,
        r#"{"umount":{"name":"a","force":false,"lazy":true}}"#,
        r#"{"umount_all":{}}"#,
        r#"{"umount_all":{"except":["a"]}}"#,
        r#"{"mkdir":{"path":"a/x"}}"#,
        r#"{"rename":{"path":"a/x","to":"a/y"}}"#,
        r#"{"symlink":{"path":"a/x","files":2}}"#,
        r#"{"list":{"handle":"h"}}"#,
        r#"{"list":{"handle":"h","kill_after":"1s"}}"#,
        r#"{"stat_listed":{"handle":"h"}}"#,
        r#"{"chmod":{"path":"a/x","mode":384}}"#,
        r#"{"open":{"handle":"h","path":"a/x","flags":["read","write","create","truncate","direct","append"]}}"#,
        r#"{"write":{"handle":"h","offset":0,"length":4096,"seed":1}}"#,
        r#"{"read":{"handle":"h","offset":0,"length":4096,"seed":null}}"#,
        r#"{"readahead":{"handle":"h","offset":0,"length":4096}}"#,
        r#"{"fsync":{"handle":"h"}}"#,
        r#"{"close":{"handle":"h"}}"#,
        r#"{"populate":{"path":"a/x","files":2,"length":4096,"seed":0,"fsync":true,"keep":false}}"#,
        r#"{"compare":{"path":"a/x","files":2,"length":4096,"seed":0}}"#,
        r#"{"unlink":{"path":"a/x","files":2}}"#,
        r#"{"stat_many":{"path":"a/x","files":2}}"#,
        r#"{"truncate_many":{"path":"a/x","files":2,"length":0}}"#,
        r#"{"truncate":{"path":"a/x","length":0}}"#,
        r#"{"wait_size":{"path":"a/x","length":0,"within":"10s"}}"#,
        r#"{"snapshot":{"path":"a/x","name":"one","remove":false}}"#,
        r#"{"encrypt":{"path":"a/x"}}"#,
        r#"{"set_xattr":{"path":"a/x","name":"user.x","value":"1"}}"#,
        r#"{"drop_caches":{"what":"inodes","times":1}}"#,
        r#""sync""#,
        r#"{"syncfs":{"mount":"a"}}"#,
        r#"{"storm":{"name":"s","mounts":["a"],"writers":2,"files":8,"length":262144,"operations":9,"seed":0,"mix":{"overwrite":30,"truncate":12,"unlink":4,"rename":4,"mmap":8,"direct":6,"snapshot":1,"kill":4,"fsync":8,"read":8},"syncfs_every":"20ms","drop_caches_every":"100ms","memory":50331648,"tolerate":["EIO"]}}"#,
        r#"{"verify":{"storm":"s","mount":"a"}}"#,
        r#"{"lkdtm":{"provoke":"BUG"}}"#,
        r#"{"sysrq":{"letters":"w"}}"#,
        r#"{"collect":{"path":"/proc/stat"}}"#,
        r#"{"counters":{"name":"t","path":"/x","keys":2}}"#,
        r#"{"profile":{"functions":["iput"]}}"#,
        r#""profiled""#,
        r#"{"line_counters":{"object":"fs/ceph/addr","offset":0}}"#,
        r#"{"fail_allocations":{"within":"f","times":3}}"#,
        r#"{"write_file":{"path":"/x","text":"1"}}"#,
        r#"{"exec":{"program":"ls","args":["{a}"]}}"#,
        r#"{"xfstests":{"tree":"/xfstests","args":["-g","quick"],"exclude":"/x","settings":{"A":"1"}}}"#,
    ];

    #[test]
    fn every_step_is_spelled_as_ever() {
        let mut seen = Vec::new();
        for text in SPELLED {
            let step: GuestStep = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&step).unwrap(), *text);
            assert!(text[1..].trim_start_matches('"').starts_with(step.kind()));
            seen.push(step.kind());
        }
        let unseen: Vec<_> = NAMES.iter().filter(|name| !seen.contains(name)).collect();
        assert!(unseen.is_empty(), "no spelling of {unseen:?}");
    }

    #[test]
    fn no_two_families_have_a_step_of_one_name() {
        let mut names = NAMES.clone();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), NAMES.len());
    }

    #[test]
    fn what_a_family_refuses_is_refused() {
        for (text, expected) in [
            (
                r#"{"sink":{}}"#,
                "unknown variant `sink`, expected one of `mount`",
            ),
            (
                r#"{"mkdir":{"pth":"a"}}"#,
                "unknown field `pth`, expected `path`",
            ),
            (r#"{"mkdir":{}}"#, "missing field `path`"),
            (r#""mkdir""#, "struct variant"),
            ("7", "expected"),
        ] {
            let error = serde_json::from_str::<GuestStep>(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }
}
