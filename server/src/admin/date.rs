//! Points in time as Java's `Date` prints them, in UTC.

use zokor_core::time::WallTime;

/// For example `Mon Nov 23 15:42:06 UTC 2026`.
pub(super) fn java_date(time: WallTime) -> String {
    let (days, of_day) = split(time);
    let (year, month, day) = civil(days);
    let index = |n: i64| usize::try_from(n).expect("a remainder and a month are never negative");
    // Day 0 of the epoch was a Thursday.
    let weekday = WEEKDAYS[index((days + 4).rem_euclid(7))];
    let (hour, minute, second) = clock(of_day);
    let month = MONTHS[index(month - 1)];
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

/// As the logs of Java's programs have it: `2026-11-23 15:42:06,118`.
pub(crate) fn log_date(time: WallTime) -> String {
    let (days, of_day) = split(time);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = clock(of_day);
    let ms = time.0.rem_euclid(1_000);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02},{ms:03}")
}

/// Whole days since 1970, and seconds of the last.
fn split(time: WallTime) -> (i64, i64) {
    let seconds = time.0.div_euclid(1_000);
    (seconds.div_euclid(86_400), seconds.rem_euclid(86_400))
}

fn clock(of_day: i64) -> (i64, i64, i64) {
    (of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

/// Year, month and day of the day that many days after 1970-01-01, in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years are counted from March, so that the leap day comes last (Howard Hinnant, "chrono-
    // compatible low-level date algorithms").
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_s_date_has_milliseconds() {
        assert_eq!(log_date(WallTime(1_795_448_526_118)), "2026-11-23 15:42:06,118");
        assert_eq!(log_date(WallTime(-1)), "1969-12-31 23:59:59,999");
    }

    #[test]
    fn dates_are_printed_as_java_prints_them() {
        let table = [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969"),
            (951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000"),
            (1_795_448_526_118, "Mon Nov 23 15:42:06 UTC 2026"),
            (4_107_542_399_999, "Sun Feb 28 23:59:59 UTC 2100"),
            (4_107_542_400_000, "Mon Mar 01 00:00:00 UTC 2100"),
        ];
        for (ms, text) in table {
            assert_eq!(java_date(WallTime(ms)), text);
        }
    }
}
