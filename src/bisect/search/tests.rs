//! Tests of the whole search: exhaustive ones on small histories, and properties
//! on random ones with merges, skips and noise.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

const SURE: Rates = Rates::Known {
    hit: 1.0,
    false_alarm: 0.0,
};

fn search(order: Order, rates: Rates) -> Search {
    let settings = Settings {
        rates,
        none: 0.0,
        prove_ends: false,
        ..Settings::default()
    };
    Search::new(Arc::new(order), settings)
}

/// Every history of `count` commits in which each may have any of the earlier
/// ones as parents.
fn histories(count: usize) -> impl Iterator<Item = Vec<Vec<usize>>> {
    let bits: usize = (0..count).sum();
    (0..1_usize << bits).map(move |choice| {
        let mut rest = choice;
        (0..count)
            .map(|commit| {
                let parents = (0..commit)
                    .filter(|parent| rest >> parent & 1 == 1)
                    .collect();
                rest >>= commit;
                parents
            })
            .collect()
    })
}

/// Boots without noise until there is an answer.
fn play(search: &mut Search, culprit: usize, broken: &[usize]) -> (Vec<usize>, usize) {
    let order = Arc::clone(&search.evidence.order);
    let mut tests = 0;
    loop {
        if let Answer::Culprit { candidates, .. } = search.answer(0.95) {
            return (candidates, tests);
        }
        let point = search.next().expect("a boot tells something");
        let Point::Candidate(candidate) = point else {
            panic!("the base tells nothing here");
        };
        assert!(!search.skipped.contains(&candidate), "a skipped candidate");
        tests += 1;
        assert!(tests <= 4 * order.len() + 4, "no end");
        if broken.contains(&candidate) {
            search.skip(candidate);
        } else {
            search.record(point, order.contains(candidate, culprit));
        }
    }
}

#[test]
fn every_culprit_of_every_small_history_is_found() {
    for parents in histories(5) {
        for culprit in 0..5 {
            let order = Order::from_parents(&parents).unwrap();
            let mut search = search(order, SURE);
            let (found, tests) = play(&mut search, culprit, &[]);
            assert_eq!(found, [culprit], "{parents:?}");
            assert!(tests <= 5, "{parents:?} took {tests}");
        }
    }
}

#[test]
fn what_skips_hide_is_named_together() {
    for parents in histories(4) {
        for broken in 0..4 {
            for culprit in 0..4 {
                let order = Order::from_parents(&parents).unwrap();
                let mut search = search(order.clone(), SURE);
                let (found, _) = play(&mut search, culprit, &[broken]);
                assert!(found.contains(&culprit), "{parents:?} {broken} {culprit}");
                // Whatever could be booted contains all of them or none.
                for tester in (0..4).filter(|tester| *tester != broken) {
                    let inside = found.iter().filter(|&&one| order.contains(tester, one));
                    let inside = inside.count();
                    assert!(
                        inside == 0 || inside == found.len(),
                        "{parents:?} {found:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_bug_that_always_shows_takes_as_many_tests_as_there_are_halvings() {
    for count in (1..=70).chain([127, 128, 129, 1000, 1024]) {
        let halvings = usize::BITS - (count - 1_usize).leading_zeros();
        for culprit in (0..count).step_by(1 + count / 70) {
            let mut search = search(Order::linear(count), SURE);
            let (found, tests) = play(&mut search, culprit, &[]);
            assert_eq!(found, [culprit]);
            assert!(tests <= halvings as usize, "{count}: {tests}");
        }
    }
}

#[test]
fn one_rate_everywhere_is_told_from_a_culprit() {
    let mut search = Search::new(Arc::new(Order::linear(64)), Settings::default());
    let mut dice = 7_u64;
    for _ in 0..4000 {
        if search.answer(0.95) != Answer::Open {
            break;
        }
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let point = search.next().unwrap();
        search.record(point, dice >> 63 == 1);
    }
    assert!(matches!(search.answer(0.95), Answer::None { .. }));
}

#[test]
fn both_ends_are_booted_before_anything_between_them() {
    let top = Point::Candidate(63);
    let booted = |settings: Settings, top_shows: &[bool]| {
        let mut search = Search::new(Arc::new(Order::linear(64)), settings);
        for &hit in top_shows {
            assert_eq!(search.next(), Some(top));
            search.record(top, hit);
        }
        assert_eq!(search.next(), Some(Point::Base), "after {top_shows:?}");
    };
    // Three hits, or one in eight boots.
    let learned = Settings::default();
    booted(learned, &[true, true, true]);
    booted(learned, &[true, false, true, false, true]);
    booted(
        learned,
        &[false, false, false, false, false, false, false, true],
    );
    let rates = Rates::Known {
        hit: 0.5,
        false_alarm: 0.0,
    };
    booted(Settings { rates, ..learned }, &[false, true]);
}

#[test]
fn how_often_the_bug_shows_is_measured_at_the_bad_end() {
    let top = Point::Candidate(63);
    let mut search = Search::new(Arc::new(Order::linear(64)), Settings::default());
    for hit in [true, false, true, true] {
        search.record(top, hit);
    }
    search.record(Point::Base, false);
    // Whatever this tells of candidate 31, it tells nothing of the bug.
    for _ in 0..12 {
        search.record(Point::Candidate(31), false);
    }
    assert_eq!(search.next(), Some(top));
    search.record(top, true);
    assert_ne!(search.next(), Some(top));
}

/// False alarms that are nearly as frequent as hits are a reason for doubt.
#[test]
fn more_is_asked_where_the_rates_come_close() {
    let mut search = Search::new(Arc::new(Order::linear(8)), Settings::default());
    let asked_after = |search: &mut Search, false_alarms: u32| {
        for boot in 0..40 {
            search.record(Point::Candidate(7), boot % 3 == 0);
            search.record(Point::Base, boot < false_alarms);
        }
        search.asked(0, 0.95)
    };
    assert!((asked_after(&mut search.clone(), 0) - 0.95).abs() < 1e-9);
    assert!(asked_after(&mut search, 3) > 0.97);
}

#[test]
fn a_culprit_has_shown_the_bug_more_than_once() {
    let mut search = Search::new(Arc::new(Order::linear(4)), Settings::default());
    let mut record = |point: Point, hits: u32, boots: u32| {
        for boot in 0..boots {
            search.record(point, boot < hits);
        }
        search.clone()
    };
    record(Point::Base, 0, 60);
    record(Point::Candidate(3), 6, 16);
    record(Point::Candidate(1), 0, 60);
    let once = record(Point::Candidate(2), 1, 1);
    assert!(once.probability(2) > 0.95, "{}", once.probability(2));
    assert_eq!(once.answer(0.95), Answer::Open);
    assert_eq!(once.next(), Some(Point::Candidate(2)));
    let twice = record(Point::Candidate(2), 1, 1);
    assert!(matches!(twice.answer(0.95), Answer::Culprit { .. }));
}

#[test]
fn what_cured_a_bug_is_found_the_other_way_round() {
    let settings = Settings {
        change: Change::Disappears,
        ..Settings::default()
    };
    let mut search = Search::new(Arc::new(Order::linear(64)), settings);
    assert_eq!(search.next(), Some(Point::Base), "the bug is at the base");
    while search.answer(0.95) == Answer::Open {
        let point = search.next().unwrap();
        let hit = match point {
            Point::Base => true,
            Point::Candidate(candidate) => candidate < 40,
        };
        search.record(point, hit);
    }
    let Answer::Culprit { candidates, .. } = search.answer(0.95) else {
        panic!("{:?}", search.answer(0.95));
    };
    assert_eq!(candidates, [40]);
}

#[test]
fn a_word_is_certain_until_it_is_forgotten() {
    let mut search = search(Order::linear(8), Rates::Learned);
    let fresh = search.probability(2);
    search.assert(3, true);
    assert!(search.probability(5) == 0.0 && search.probability(2) > fresh);
    search.assert(1, false);
    assert!(search.probability(1) == 0.0);
    search.forget(Point::Candidate(3));
    search.forget(Point::Candidate(1));
    assert!((search.probability(2) - fresh).abs() < 1e-12);
}

#[test]
fn equal_images_rule_out_what_lies_between() {
    let mut search = search(Order::linear(8), Rates::Learned);
    search.same(5, Point::Candidate(2));
    for candidate in 0..8 {
        let between = (3..=5).contains(&candidate);
        assert_eq!(search.probability(candidate) == 0.0, between, "{candidate}");
    }
    assert_ne!(search.next(), Some(Point::Candidate(5)));
    search.forget(Point::Candidate(2));
    assert!(search.probability(4) > 0.0);
}

#[test]
fn an_image_as_before_all_candidates_clears_what_it_contains() {
    let mut search = search(Order::linear(8), Rates::Learned);
    search.same(4, Point::Base);
    for candidate in 0..8 {
        assert_eq!(search.probability(candidate) == 0.0, candidate <= 4);
    }
    search.forget(Point::Candidate(4));
    assert!(search.probability(4) > 0.0);
}

#[test]
fn contradictions_leave_numbers_that_are_numbers() {
    for rates in [SURE, Rates::Learned] {
        let settings = Settings {
            rates,
            prove_ends: false,
            ..Settings::default()
        };
        let mut search = Search::new(Arc::new(Order::linear(8)), settings);
        search.assert(2, true);
        assert!(search.is_possible());
        search.assert(5, false);
        assert!(!search.is_possible());
        assert_eq!(search.answer(0.5), Answer::Open);
        assert!((0..8).all(|candidate| search.probability(candidate) == 0.0));
        assert!(search.none() == 0.0);
        assert_eq!(search.next(), None);
        search.forget(Point::Candidate(5));
        assert!(search.next().is_some());
    }
}

#[test]
fn after_a_skip_the_next_test_keeps_away_from_it() {
    let mut search = search(Order::linear(1000), SURE);
    let Some(Point::Candidate(middle)) = search.next() else {
        panic!("no candidate");
    };
    search.skip(middle);
    let Some(Point::Candidate(next)) = search.next() else {
        panic!("no candidate");
    };
    assert!(next.abs_diff(middle) > 50, "{middle}, then {next}");
}

#[test]
fn boots_side_by_side_are_of_different_candidates_when_none_repeats() {
    let search = search(Order::linear(256), SURE);
    let batch = search.batch(3);
    let mut ranks: Vec<usize> = batch
        .iter()
        .map(|point| match point {
            Point::Candidate(candidate) => *candidate,
            Point::Base => panic!("{batch:?}"),
        })
        .collect();
    ranks.sort_unstable();
    ranks.dedup();
    assert_eq!(ranks.len(), 3, "{batch:?}");
    let ahead = search.builds_ahead(4);
    assert!(
        ahead.iter().all(|(_, chance)| *chance <= 1.0 + 1e-9),
        "{ahead:?}"
    );
    assert!(ahead[0].1 >= ahead[1].1);
}

#[test]
fn a_forecast_is_near_what_a_search_takes() {
    let search = search(Order::linear(64), SURE);
    let forecast = search.forecast(0.95, u32::MAX);
    assert!((forecast.boots - 6.0).abs() < 0.5, "{forecast:?}");
    assert!((forecast.builds - 6.0).abs() < 0.5, "{forecast:?}");
    // From fewer games, not from none.
    let forecast = search.forecast(0.95, 0);
    assert!((forecast.boots - 6.0).abs() < 2.0, "{forecast:?}");
}

#[test]
fn a_certain_rate_that_boots_contradict_is_given_up() {
    let settings = Settings {
        rates: SURE,
        ..Settings::default()
    };
    let mut search = Search::new(Arc::new(Order::linear(8)), settings);
    let mut record = |point: Point, hits: u32, boots: u32| {
        for boot in 0..boots {
            search.record(point, boot < hits);
        }
        search.clone()
    };
    record(Point::Candidate(7), 1, 1);
    record(Point::Base, 0, 1);
    record(Point::Candidate(4), 1, 1);
    let clean = record(Point::Candidate(3), 0, 1);
    assert!(matches!(clean.answer(0.95), Answer::Culprit { .. }));
    assert!(!clean.is_contradicted());
    // More of its boots are clean than not: it has the bug all the same.
    let both = record(Point::Candidate(3), 2, 5);
    assert!(both.is_contradicted());
    assert!(both.probability(4) < 0.5, "{}", both.probability(4));
    assert_eq!(both.answer(0.95), Answer::Open);
    let (hit, _) = both.rates();
    assert!(hit < 0.9, "{hit}");
}

#[test]
fn a_culprit_has_shown_the_bug_by_its_image() {
    let mut search = Search::new(Arc::new(Order::linear(4)), Settings::default());
    let mut record = |point: Point, hits: u32, boots: u32| {
        for boot in 0..boots {
            search.record(point, boot < hits);
        }
    };
    record(Point::Base, 0, 60);
    record(Point::Candidate(3), 6, 16);
    record(Point::Candidate(0), 0, 60);
    record(Point::Candidate(2), 1, 1);
    search.same(1, Point::Candidate(2));
    assert!(search.probability(1) > 0.95, "{}", search.probability(1));
    assert_eq!(search.answer(0.95), Answer::Open);
    assert_eq!(search.next(), Some(Point::Candidate(2)));
    search.record(Point::Candidate(2), true);
    assert!(matches!(search.answer(0.95), Answer::Culprit { .. }));
}

/// A history with merges: the parents of each commit are among the few before it.
fn history() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(1_usize..5, 1..3), 2..24).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(commit, back)| {
                let mut parents: Vec<usize> = back
                    .into_iter()
                    .filter_map(|steps| commit.checked_sub(steps))
                    .collect();
                parents.sort_unstable();
                parents.dedup();
                parents
            })
            .collect()
    })
}

/// Bayes' rule by hand, for known rates.
fn by_hand(order: &Order, boots: &[(usize, bool)], hit: f64, false_alarm: f64) -> Vec<f64> {
    let weights: Vec<f64> = (0..order.len())
        .map(|culprit| {
            boots
                .iter()
                .map(|&(candidate, shown)| {
                    let rate = if order.contains(candidate, culprit) {
                        hit
                    } else {
                        false_alarm
                    };
                    if shown { rate } else { 1.0 - rate }
                })
                .product()
        })
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cells_and_chains_give_what_bayes_gives_by_hand(
        parents in history(),
        boots in prop::collection::vec((0_usize..24, any::<bool>()), 0..20),
    ) {
        let order = Order::from_parents(&parents).unwrap();
        let boots: Vec<(usize, bool)> = boots
            .into_iter()
            .map(|(candidate, shown)| (candidate % order.len(), shown))
            .collect();
        let rates = Rates::Known { hit: 0.6, false_alarm: 0.1 };
        let mut search = search(order.clone(), rates);
        for &(candidate, shown) in &boots {
            search.record(Point::Candidate(candidate), shown);
        }
        let expected = by_hand(&order, &boots, 0.6, 0.1);
        for (candidate, expected) in expected.iter().enumerate() {
            prop_assert!((search.probability(candidate) - expected).abs() < 1e-9);
            let after: f64 = (0..order.len())
                .filter(|&culprit| order.contains(candidate, culprit))
                .map(|culprit| search.probability(culprit))
                .sum();
            prop_assert!((search.after_culprit(candidate) - after).abs() < 1e-9);
        }
    }

    /// The next boot tells about as much as the best of all, tried one by one.
    #[test]
    fn the_choice_is_near_the_best_there_is(
        parents in history(),
        boots in prop::collection::vec((0_usize..24, any::<bool>()), 0..8),
    ) {
        let order = Order::from_parents(&parents).unwrap();
        let rates = Rates::Known { hit: 0.8, false_alarm: 0.05 };
        let mut search = search(order.clone(), rates);
        search.set_prices(Prices { boot: 1.0, build: 0.0 });
        for candidate in 0..order.len() {
            search.mark_built(candidate);
        }
        for (candidate, shown) in boots {
            search.record(Point::Candidate(candidate % order.len()), shown);
        }
        // What each candidate predicts beside what all do; one that may well be the
        // culprit beside what the others do.
        let bits = |booted: usize| -> f64 {
            let rate = |culprit: usize| if order.contains(booted, culprit) { 0.8 } else { 0.05 };
            let all: f64 = (0..order.len()).map(|one| search.probability(one) * rate(one)).sum();
            let posterior = &search.posterior;
            let predicts = |one: usize| {
                let (probability, rate) = (search.probability(one), rate(one));
                let alone = posterior.cells[posterior.cell_of(&order, one)].size == 1;
                let beside = if alone && probability > 0.05 {
                    // As the choice has it, however sure.
                    let probability = probability.min(1.0 - 1e-4);
                    (all - probability * rate) / (1.0 - probability)
                } else {
                    all
                };
                probability * policy::divergence(rate, beside)
            };
            (0..order.len()).map(predicts).sum()
        };
        let best = (0..order.len()).map(bits).fold(0.0, f64::max);
        if let Some(Point::Candidate(chosen)) = search.next() {
            prop_assert!(bits(chosen) >= 0.8 * best - 1e-9, "{} of {best}", bits(chosen));
        }
    }

    /// With noise, merges and skips a search ends, and never with a candidate
    /// that what is certain rules out.
    #[test]
    fn noisy_searches_end(
        parents in history(),
        culprit in 0_usize..24,
        broken in prop::collection::vec(0_usize..24, 0..4),
        seed in any::<u64>(),
    ) {
        // The bad end has everything, and was tested: it is not broken.
        let mut parents = parents;
        let tips = (0..parents.len()).filter(|tip| !parents.iter().flatten().any(|one| one == tip));
        parents.push(tips.collect());
        let order = Order::from_parents(&parents).unwrap();
        let culprit = culprit % order.len();
        let broken: Vec<usize> = broken.into_iter().filter(|one| *one != order.len() - 1).collect();
        let settings = Settings { prove_ends: false, none: 0.02, ..Settings::default() };
        let mut search = Search::new(Arc::new(order.clone()), settings);
        let mut dice = seed;
        let mut boots = 0;
        while search.answer(0.95) == Answer::Open && boots < 3000 {
            let Some(point) = search.next() else { break };
            boots += 1;
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let chance = (dice >> 11) as f64 / (1_u64 << 53) as f64;
            match point {
                Point::Candidate(candidate) if broken.contains(&candidate) => search.skip(candidate),
                Point::Candidate(candidate) => {
                    let rate = if order.contains(candidate, culprit) { 0.7 } else { 0.02 };
                    search.record(point, chance < rate);
                }
                Point::Base => search.record(point, chance < 0.02),
            }
            let sum: f64 = (0..order.len()).map(|one| search.probability(one)).sum();
            prop_assert!((sum + search.none() - 1.0).abs() < 1e-6, "{sum}");
        }
        prop_assert!(boots < 3000);
    }
}
