use contracts::MediaStep;

use super::*;

const KEY: &str = "a key";

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

fn known(name: &str) -> ProviderStateRecord {
    ProviderStateRecord::new(MediaStep::Transcribe, name)
}

fn candidates() -> [Candidate<'static>; 3] {
    [("here", "local"), ("speaches", "local"), ("groq", "cloud")].map(|(name, group)| Candidate {
        name,
        group,
        fingerprint: KEY,
    })
}

fn failed() -> CallEnd {
    CallEnd::Failed { what: "503".to_owned() }
}

/// The state after calls that end like this, each at its second.
fn after_all(ends: &[(CallEnd, i64)]) -> ProviderStateRecord {
    ends.iter().fold(known("groq"), |state, (end, second)| after(&state, end, KEY, at(*second)))
}

fn cools_for(state: &ProviderStateRecord, second: i64) -> Option<i64> {
    state.cools_until.map(|until| until.duration_since(at(second)).as_secs())
}

fn chosen(states: &[ProviderStateRecord], group: Option<&str>, refused: &[&str]) -> Choice {
    choose(&candidates(), states, group, refused, now())
}

const fn used(index: usize) -> Choice {
    Choice::Use { index, probe: false }
}

#[test]
fn the_file_gives_the_order_unless_an_admin_does() {
    assert_eq!(chosen(&[], None, &[]), used(0));
    let states = [
        ProviderStateRecord { position: Some(0), ..known("groq") },
        ProviderStateRecord { position: Some(1), ..known("gone from the file") },
    ];
    assert_eq!(ordered(&candidates(), &states), [2, 0, 1]);
    assert_eq!(chosen(&states, None, &[]), used(2));
}

#[test]
fn a_group_of_a_book_leaves_out_the_others() {
    assert_eq!(chosen(&[], Some("cloud"), &[]), used(2));
    assert_eq!(chosen(&[], Some("aws"), &[]), Choice::NoneInGroup);
    assert_eq!(choose(&[], &[], None, &[], now()), Choice::NoneInGroup);
}

#[test]
fn an_input_goes_to_the_next_until_all_have_refused_it() {
    assert_eq!(chosen(&[], None, &["here"]), used(1));
    assert_eq!(chosen(&[], None, &["here", "speaches", "groq"]), Choice::Refused);
    let cooling = ProviderStateRecord { cools_until: Some(at(5)), ..known("groq") };
    // One that did not refuse it may still take it.
    assert_eq!(chosen(&[cooling], None, &["here", "speaches"]), Choice::Wait { until: at(5) });
    let off = ProviderStateRecord { enabled: false, ..known("groq") };
    assert_eq!(chosen(&[off], None, &["here", "speaches"]), Choice::Refused);
}

#[test]
fn while_all_cool_the_job_waits_for_the_first() {
    let cooling = |name, seconds| ProviderStateRecord { cools_until: Some(at(seconds)), ..known(name) };
    let states = [cooling("here", 60), cooling("speaches", 20), cooling("groq", 40)];
    assert_eq!(chosen(&states, None, &[]), Choice::Wait { until: at(20) });
    assert_eq!(chosen(&states[..2], None, &[]), used(2));
}

#[test]
fn what_is_off_is_not_called_until_it_is_changed() {
    let off = candidates().map(|candidate| ProviderStateRecord { enabled: false, ..known(candidate.name) });
    assert_eq!(chosen(&off, None, &[]), Choice::Off);
    let refused = after(&known("here"), &CallEnd::Unauthorised, KEY, now());
    assert_eq!(chosen(std::slice::from_ref(&refused), None, &[]), used(1));
    let other_key = [Candidate { fingerprint: "another key", ..candidates()[0] }];
    assert_eq!(choose(&other_key, std::slice::from_ref(&refused), None, &[], now()), used(0));
    // A call that began before the refusal does not end it; one with another key does.
    assert!(after(&refused, &CallEnd::Done, KEY, now()).off_config.is_some());
    assert_eq!(after(&refused, &CallEnd::Done, "another key", now()).off_config, None);
}

#[test]
fn after_a_cooldown_one_call_probes_it() {
    let over = ProviderStateRecord { cools_until: Some(at(-1)), ..known("here") };
    assert_eq!(chosen(std::slice::from_ref(&over), None, &[]), Choice::Use { index: 0, probe: true });
    let probed = ProviderStateRecord { probing_until: Some(at(30)), ..over.clone() };
    assert_eq!(chosen(std::slice::from_ref(&probed), None, &[]), used(1));
    assert_eq!(
        chosen(&[probed], None, &["speaches", "groq"]),
        Choice::Wait { until: at(5) },
        "it may end at any moment"
    );
    // Whoever tried it is gone.
    let lost = ProviderStateRecord { probing_until: Some(at(-1)), ..over };
    assert_eq!(chosen(&[lost], None, &[]), Choice::Use { index: 0, probe: true });
}

#[test]
fn a_429_cools_for_as_long_as_it_says() {
    let limited = |retry_after: Option<i64>| {
        let retry_after = retry_after.map(SignedDuration::from_secs);
        cools_for(&after(&known("groq"), &CallEnd::RateLimited { retry_after }, KEY, now()), 0)
    };
    assert_eq!(
        [limited(Some(5)), limited(None), limited(Some(0)), limited(Some(-9)), limited(Some(7_200))],
        [5, 30, 1, 1, 7_200].map(Some)
    );
    assert_eq!(limited(Some(1_000_000)), Some(86_400), "at most a day");
}

#[test]
fn what_failed_last_is_told_in_words() {
    let words = |end: &CallEnd| last_failure(&after(&known("groq"), end, KEY, now()));
    assert_eq!(words(&failed()).as_deref(), Some("it failed: 503"));
    assert_eq!(words(&CallEnd::RateLimited { retry_after: None }).as_deref(), Some("it asks to wait"));
    assert!(words(&CallEnd::Unauthorised).is_some_and(|words| words.contains("key file")));
    assert_eq!(words(&CallEnd::Done), None);
}

#[test]
fn three_failures_in_a_row_cool_and_others_do_not() {
    assert_eq!(cools_for(&after_all(&[(failed(), 0), (failed(), 1)]), 1), None);
    assert_eq!(cools_for(&after_all(&[(failed(), 0), (failed(), 1), (failed(), 2)]), 2), Some(30));
    let between = [(failed(), 0), (failed(), 1), (CallEnd::Done, 2), (failed(), 3), (failed(), 4)];
    assert_eq!(cools_for(&after_all(&between), 4), None);
    for end in [CallEnd::InputRefused, CallEnd::Poor] {
        let state = after_all(&[(end.clone(), 0), (end.clone(), 1), (end, 2), (failed(), 3)]);
        assert_eq!((state.cools_until, state.failures), (None, 1));
    }
}

#[test]
fn a_failed_probe_cools_twice_as_long_up_to_ten_minutes() {
    let mut state = after_all(&[(failed(), 0), (failed(), 0), (failed(), 0)]);
    let mut second = 0;
    for expected in [60, 120, 240, 480, 600, 600] {
        second += 1_000;
        state = after(&state, &failed(), KEY, at(second));
        assert_eq!(cools_for(&state, second), Some(expected));
    }
    let state = after(&state, &CallEnd::Done, KEY, at(second + 1_000));
    assert_eq!((state.cools_until, state.cooldowns, state.cause), (None, 0, None));
}

#[test]
fn calls_that_fail_together_cool_a_provider_once() {
    // Eight calls were under way when it stopped, and it answers one of them.
    let mut ends = vec![(failed(), 0); 8];
    ends.insert(5, (CallEnd::Done, 0));
    let state = after_all(&ends);
    assert_eq!((cools_for(&state, 0), state.cooldowns), (Some(30), 1));
    let limited = vec![(CallEnd::RateLimited { retry_after: None }, 0); 8];
    assert_eq!((cools_for(&after_all(&limited), 0), after_all(&limited).cooldowns), (Some(30), 1));
    // The call that tries it after the cooldown fails.
    let again = after(&state, &failed(), KEY, at(31));
    assert_eq!((cools_for(&again, 31), again.cooldowns), (Some(60), 2));
}

#[test]
fn the_later_deadline_counts() {
    let retry_after = |seconds| CallEnd::RateLimited { retry_after: Some(SignedDuration::from_secs(seconds)) };
    for ends in [[retry_after(50), retry_after(5)], [retry_after(5), retry_after(50)]] {
        let state = after_all(&ends.map(|end| (end, 0)));
        assert_eq!(cools_for(&state, 0), Some(50));
    }
    // A call that began before the cooldown and ended well does not end it.
    let state = after_all(&[(retry_after(50), 0), (CallEnd::Done, 1)]);
    assert_eq!(cools_for(&state, 0), Some(50));
}

#[test]
fn a_provider_without_quota_cools_for_an_hour() {
    let state = after_all(&[(CallEnd::OutOfQuota, 0)]);
    assert_eq!((cools_for(&state, 0), state.cause.as_deref()), (Some(3_600), Some("out_of_quota")));
    let again = after(&state, &CallEnd::OutOfQuota, KEY, at(3_600));
    assert_eq!(cools_for(&again, 3_600), Some(3_600));
}
