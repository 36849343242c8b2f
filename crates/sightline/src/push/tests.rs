use std::time::Instant;

use super::*;

#[tokio::test]
async fn a_late_file_is_not_followed_by_a_burst() {
    let files: Vec<PathBuf> = (0..8).map(|number| PathBuf::from(number.to_string())).collect();
    let period = Duration::from_millis(50);
    let mut paced = paced(&files, Some(1.0 / period.as_secs_f64()));
    paced.next().await;
    tokio::time::sleep(5 * period).await;
    let late = paced.next().await;
    let started = Instant::now();
    for _ in 0..3 {
        paced.next().await;
    }
    assert_eq!(late, files.get(1));
    // Ticks may come some milliseconds early.
    assert!(started.elapsed() > 2 * period, "{:?}", started.elapsed());
}

#[test]
fn files_without_an_answer_are_counted() {
    let count = Count { files: 20, started: 10, done: 2, failed: 1 };
    let expected =
        "2 of 20 files done (1 failed), 8 without an answer (the server may have accepted them), 10 not sent";
    assert_eq!(count.to_string(), expected);
    assert_eq!(Count { files: 1, started: 1, done: 1, failed: 0 }.to_string(), "1 of 1 file done");
}
