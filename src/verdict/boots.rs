//! Whose fault it is that kernels do not come up. One boot does not tell: an
//! emulated machine on a busy host panics now and then whatever kernel it boots.
//! A kernel that is to blame fails alike in every boot, where others come up.

/// From so many boots on that failed alike, without one that did not, the
/// kernel can be to blame.
const ALIKE: usize = 3;

/// What a boot of a kernel came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// The agent was up.
    Up,
    /// It was not, for this reason.
    Failed(String),
}

/// For each arm, given all of its boots, what its kernel is to blame for, if it
/// is.
#[must_use]
pub fn to_blame(arms: &[Vec<Boot>]) -> Vec<Option<String>> {
    let some_did = arms.len() == 1 || arms.iter().any(|boots| boots.contains(&Boot::Up));
    arms.iter()
        .map(|boots| match boots.first()? {
            Boot::Up => None,
            first @ Boot::Failed(reason) => {
                let alike = boots.iter().all(|boot| boot == first);
                (some_did && alike && boots.len() >= ALIKE).then(|| reason.clone())
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Boot::Up;
    use super::*;

    fn no_init(times: usize) -> Vec<Boot> {
        vec![Boot::Failed("no init".to_owned()); times]
    }

    #[test]
    fn a_kernel_is_to_blame_if_every_boot_fails_alike_and_others_come_up() {
        let blamed = Some("no init".to_owned());
        assert_eq!(
            to_blame(&[vec![Up, Up], no_init(3)]),
            [None, blamed.clone()]
        );
        // Some boots, different reasons, too few, or every arm: the machine.
        let some = [no_init(3), vec![Up]].concat();
        assert_eq!(to_blame(&[vec![Up], some]), [None, None]);
        let timer = Boot::Failed("no timer".to_owned());
        let different = [no_init(2), vec![timer]].concat();
        assert_eq!(to_blame(&[vec![Up], different]), [None, None]);
        assert_eq!(to_blame(&[vec![Up], no_init(2)]), [None, None]);
        assert_eq!(to_blame(&[no_init(3), no_init(3)]), [None, None]);
        // An arm alone has nobody to be compared with.
        assert_eq!(to_blame(&[no_init(3)]), [blamed]);
        assert_eq!(to_blame(&[vec![]]), [None]);
    }
}
