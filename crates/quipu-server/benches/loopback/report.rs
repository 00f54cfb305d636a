//! Figures, as a table on stderr and as one JSON object a line on stdout.

/// One line of the table and one of JSON.
pub fn report(name: &str, figures: &[(&str, f64)]) {
    let json: Vec<String> = figures.iter().map(|(key, value)| format!("\"{key}\":{value:.3}")).collect();
    let text: Vec<String> = figures.iter().map(|(key, value)| format!("{key} {}", human(*value))).collect();
    eprintln!("{name:<26} {}", text.join("   "));
    println!("{{\"bench\":\"{name}\",{}}}", json.join(","));
}

fn human(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2}M", v / 1e6),
        v if v >= 1e4 => format!("{:.1}k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

/// The value that so much of all is not above.
pub fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q) as usize]
}
