//! The vehicles of the demo: a list of real cars, built into the program.

use std::ops::RangeInclusive;

use anyhow::{Context, ensure};
use serde::Serialize;

const LIST: &str = include_str!("vehicles.txt");

/// A vehicle, in the JSON of the reference producer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DemoVehicle {
    pub year: u16,
    pub make: &'static str,
    pub model: &'static str,
    pub category: &'static str,
}

/// All vehicles of the list, each once.
pub fn all() -> anyhow::Result<Vec<DemoVehicle>> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#'));
    let of_line = |line| of_line(line).with_context(|| format!("vehicles.txt: {line:?}"));
    Ok(lines.map(of_line).collect::<Result<Vec<_>, _>>()?.concat())
}

/// One vehicle for each year of a line.
fn of_line(line: &'static str) -> anyhow::Result<Vec<DemoVehicle>> {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    let [make, model, category, years] = fields[..] else { anyhow::bail!("a line has four fields") };
    let ranges = years.split(',').map(|range| range_of(range.trim())).collect::<Result<Vec<_>, _>>()?;
    Ok(ranges.into_iter().flatten().map(|year| DemoVehicle { year, make, model, category }).collect())
}

fn range_of(text: &str) -> anyhow::Result<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').context("a range is written as 2001-2005")?;
    let range = first.parse()?..=last.parse()?;
    ensure!(!range.is_empty(), "{text} is empty");
    Ok(range)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use contracts::vehicle::from_external;
    use contracts::{FrameId, Outcome, TenantId};

    use super::*;

    #[test]
    fn the_list_has_many_distinct_vehicles_of_every_category() {
        let all = all().unwrap();
        let distinct: HashSet<_> = all.iter().collect();
        assert!(distinct.len() >= 500, "{}", distinct.len());
        assert_eq!(distinct.len(), all.len(), "a vehicle is listed twice");
        assert!(all.iter().all(|vehicle| (1990..=2023).contains(&vehicle.year)));
        let categories: HashSet<_> = all.iter().map(|vehicle| vehicle.category).collect();
        let expected = ["Convertible", "Coupe", "Hatchback", "Pickup", "SUV", "Sedan", "Van", "Wagon"];
        assert_eq!(categories, HashSet::from(expected));
    }

    #[test]
    fn every_vehicle_is_read_back_as_it_was_written() {
        let now = jiff::Timestamp::now();
        for vehicle in all().unwrap() {
            let json = serde_json::to_vec(&vehicle).unwrap();
            let read = from_external(&json, FrameId::from_position("t", 0, 0), TenantId::shared(), now).unwrap();
            let Outcome::Ok { detections, .. } = read.result.data.outcome else { panic!("{vehicle:?}") };
            let found = detections[0].attributes.vehicle();
            assert_eq!(found.year, Some(vehicle.year.into()));
            let texts = [found.make, found.model, found.category].map(Option::unwrap);
            assert_eq!(texts, [vehicle.make, vehicle.model, vehicle.category]);
        }
        let json = serde_json::to_string(&all().unwrap()[0]).unwrap();
        assert_eq!(json, r#"{"Year":2001,"Make":"Acura","Model":"MDX","Category":"SUV"}"#);
    }
}
