//! A crash at every storage call.

use quipu_testkit::CrashMatrix;

#[test]
fn a_power_cut_at_any_call_loses_nothing_acknowledged() {
    let report = CrashMatrix { seeds: 4, segment_bytes: 6 << 10 }.run().unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.segments > 2, "the script must cross segments: {report:?}");
    assert_eq!(report.kept.0, 0, "the first crashes must leave nothing: {report:?}");
    assert!(report.kept.1 >= 40, "the last crashes must leave everything: {report:?}");
    assert_eq!(report.recoveries, report.calls * 4);
}
