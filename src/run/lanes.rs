//! Testbeds besides the run's own, for trials that others would feel: each has a
//! service to itself, so that several of them run side by side. One that is free
//! again serves the next.

use std::cell::{Cell, RefCell};

use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::testbed::Testbed;

/// So many lanes in a row may be lost before anything is done on them.
const LOST_IN_A_ROW: u32 = 3;

/// What nobody else is on.
pub(super) trait Lane {
    /// Why it is of no use any more, if it is.
    async fn lost(&self) -> Option<String>;
    /// Ends all that runs on it.
    async fn close(self);
}

impl Lane for Testbed {
    async fn lost(&self) -> Option<String> {
        crate::trial::lost(self).await
    }

    async fn close(self) {
        Testbed::close(self).await;
    }
}

/// The lanes of a run.
#[derive(Debug)]
pub(super) struct Lanes<L = Testbed> {
    free: RefCell<Vec<L>>,
    opened: Cell<u32>,
}

impl<L> Default for Lanes<L> {
    fn default() -> Self {
        Self {
            free: RefCell::default(),
            opened: Cell::default(),
        }
    }
}

impl<L: Lane> Lanes<L> {
    /// Has something done on a lane. `open` makes a lane of this number, from 1.
    /// `work` returns what it came to, if it came to anything, and whether the lane
    /// is lost now; on one that was lost before it comes to nothing, and is done on
    /// another one. `None` if that does not help, which is told.
    pub(super) async fn carry_out<T>(
        &self,
        context: &Context,
        open: impl AsyncFn(u32) -> Result<L, Error>,
        work: impl AsyncFn(&L) -> Result<(Option<T>, bool), Error>,
    ) -> Result<Option<T>, Error> {
        for _ in 0..LOST_IN_A_ROW {
            let lane = if let Some(lane) = self.lease(context).await {
                lane
            } else {
                let number = self.opened.get() + 1;
                self.opened.set(number);
                open(number).await?
            };
            let (done, lost) = work(&lane).await?;
            if lost {
                // It took its own service with it, and nobody else's.
                lane.close().await;
            } else {
                self.free.borrow_mut().push(lane);
            }
            if done.is_some() {
                return Ok(done);
            }
        }
        context.emit(Event::Warning(format!(
            "no further trial is run: {LOST_IN_A_ROW} testbeds in a row were lost before their \
             first trial"
        )));
        Ok(None)
    }

    /// A free lane that is in order. Those that were lost while nobody was on them
    /// are ended.
    async fn lease(&self, context: &Context) -> Option<L> {
        loop {
            let lane = self.free.borrow_mut().pop()?;
            let Some(why) = lane.lost().await else {
                return Some(lane);
            };
            context.emit(Event::Warning(format!(
                "{why}, between two trials; another takes its place"
            )));
            lane.close().await;
        }
    }

    /// Ends those that nobody is on.
    pub(super) async fn close(&self) {
        let free = self.free.take();
        for lane in free {
            lane.close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::event::EventSink;

    #[derive(Clone, Default)]
    struct Bed {
        number: u32,
        dead: Rc<Cell<bool>>,
        closed: Rc<Cell<bool>>,
    }

    impl Lane for Bed {
        async fn lost(&self) -> Option<String> {
            self.dead.get().then(|| format!("mds.{} died", self.number))
        }

        async fn close(self) {
            self.closed.set(true);
        }
    }

    /// What a trial does with its lane.
    async fn work(lane: &Bed) -> Result<(Option<u32>, bool), Error> {
        let lost = lane.dead.get();
        Ok(((!lost).then_some(lane.number), lost))
    }

    fn listening() -> (Context, impl FnMut() -> Vec<String>) {
        let (events, warnings) = EventSink::warnings();
        let context = Context {
            events,
            ..Context::default()
        };
        (context, warnings)
    }

    #[tokio::test]
    async fn a_lane_that_died_while_it_was_free_is_replaced() {
        let (context, mut warnings) = listening();
        let lanes = Lanes::default();
        let beds: Vec<Bed> = (1..=2)
            .map(|number| Bed {
                number,
                ..Bed::default()
            })
            .collect();
        let open = async |number: u32| Ok(beds[number as usize - 1].clone());
        for _ in 0..2 {
            let done = lanes.carry_out(&context, open, work).await.unwrap();
            assert_eq!(done, Some(1));
        }
        assert!(warnings().is_empty());
        beds[0].dead.set(true);
        let done = lanes.carry_out(&context, open, work).await.unwrap();
        assert_eq!(done, Some(2));
        assert!(beds[0].closed.get() && !beds[1].closed.get());
        let told = warnings();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("mds.1 died"), "{told:?}");
        lanes.close().await;
        assert!(beds[1].closed.get());
    }

    #[tokio::test]
    async fn lanes_that_are_lost_at_once_are_given_up_and_told() {
        let (context, mut warnings) = listening();
        let lanes = Lanes::default();
        let dying = async |number: u32| {
            Ok(Bed {
                number,
                dead: Rc::new(Cell::new(true)),
                ..Bed::default()
            })
        };
        let done = lanes.carry_out(&context, dying, work).await.unwrap();
        assert_eq!(done, None);
        assert_eq!(lanes.opened.get(), LOST_IN_A_ROW);
        let told = warnings();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("no further trial is run"), "{told:?}");
    }
}
