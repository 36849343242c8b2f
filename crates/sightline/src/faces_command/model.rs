//! `sightline faces model`: which model compares faces, how far its change is, and changing it.

use clap::{Args, Subcommand};
use contracts::api::{FaceModelChange, FaceModelStatus, MissingFace, SubjectWithoutFace};

use crate::client::{ClientArgs, ask};
use crate::out::{self, counted};

const MODEL: &str = "/v1/faces/model";

/// Shows which model compares faces and how far its change is, or changes it
#[derive(Debug, Args)]
pub struct ModelCommand {
    #[command(subcommand)]
    action: Option<ModelAction>,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum ModelAction {
    /// Change to a model: kept images are embedded with it in the background, then it compares from one moment to the next
    // Without it, the usage of an error names options that are set in the environment as if they were required.
    #[command(override_usage = "sightline faces model use [OPTIONS] <NAME>")]
    Use(Use),
}

#[derive(Debug, Args)]
struct Use {
    /// Name of the model, as `sightline models list` has it; the one that compares already ends a change that was begun
    #[arg(value_name = "NAME")]
    name: String,

    /// Change also if subjects have no face for the model, because their images were not kept or show no face to it
    #[arg(long)]
    without_missing: bool,

    #[command(flatten)]
    client: ClientArgs,
}

impl ModelCommand {
    /// Asks the server, and prints the state after that.
    pub async fn run(self) -> anyhow::Result<()> {
        let status: FaceModelStatus = match self.action {
            None => {
                let client = self.client.client()?;
                ask(client.get(MODEL)?, &client).await?
            }
            Some(ModelAction::Use(Use { name, without_missing, client })) => {
                let client = client.client()?;
                let change = FaceModelChange { model: name, without_missing };
                ask(client.put(MODEL)?.json(&change), &client).await?
            }
        };
        lines(&status).into_iter().try_for_each(out::line)
    }
}

/// A status, line by line.
fn lines(status: &FaceModelStatus) -> Vec<String> {
    let FaceModelStatus { active, target, without_missing, faces, negatives, subjects_without, without } = status;
    let mut lines = vec![format!("model: {}", active.as_deref().unwrap_or("none is there"))];
    let Some(target) = target else {
        lines.push(format!("faces: {}, negatives: {}", faces.total, negatives.total));
        return lines;
    };
    lines.push(format!("changes to: {target}"));
    for (what, counts) in [("faces", faces), ("negatives", negatives)] {
        let (embedded, total, missing) = (counts.embedded, counts.total, counts.missing);
        lines.push(format!("{what}: {embedded} of {total} done, {missing} cannot be"));
    }
    lines.push(format!("subjects that would have no face: {subjects_without}"));
    lines.extend(without.iter().map(|SubjectWithoutFace { tenant, subject, faces, reason }| {
        let faces = counted(usize::try_from(*faces).unwrap_or(usize::MAX), "face", "faces");
        format!("  {subject} of {tenant}: {faces}, {}", why(*reason))
    }));
    let named = without.len() as u64;
    if *subjects_without > named {
        lines.push(format!("  and {} more", subjects_without - named));
    }
    let done = faces.embedded + faces.missing == faces.total;
    if *subjects_without > 0 && done && !without_missing {
        let advice = "enrol other images of them and run the command again, or accept it with --without-missing";
        lines.push(format!("the change waits: {advice}"));
    }
    lines
}

const fn why(reason: MissingFace) -> &'static str {
    match reason {
        MissingFace::ImageNotKept => "its image was not kept",
        MissingFace::FaceNotFound => "its image has no single face for this model",
        MissingFace::FaceNotComparable => "its face is too small for this model",
        MissingFace::TooManyFaces => "it has too many faces of this model",
    }
}

#[cfg(test)]
mod tests {
    use contracts::api::EmbeddedFaces;

    use super::*;

    #[test]
    fn a_change_that_waits_says_for_whom_and_what_to_do() {
        let subject = "0198f2a4-0000-7000-8000-000000000001".parse().unwrap();
        let lost = SubjectWithoutFace {
            tenant: "shared".parse().unwrap(),
            subject,
            faces: 2,
            reason: MissingFace::ImageNotKept,
        };
        let mut status = FaceModelStatus {
            active: Some("one".to_owned()),
            target: Some("two".to_owned()),
            without_missing: false,
            faces: EmbeddedFaces { total: 9, embedded: 7, missing: 2 },
            negatives: EmbeddedFaces::default(),
            subjects_without: 3,
            without: vec![lost],
        };
        let expected = [
            "model: one".to_owned(),
            "changes to: two".to_owned(),
            "faces: 7 of 9 done, 2 cannot be".to_owned(),
            "negatives: 0 of 0 done, 0 cannot be".to_owned(),
            "subjects that would have no face: 3".to_owned(),
            format!("  {subject} of shared: 2 faces, its image was not kept"),
            "  and 2 more".to_owned(),
        ];
        let shown = lines(&status);
        assert_eq!(shown[..7], expected);
        assert!(shown[7].contains("--without-missing") && shown.len() == 8, "{shown:?}");
        status.without_missing = true;
        assert_eq!(lines(&status), expected, "it goes on by itself");
        status.target = None;
        assert_eq!(lines(&status), ["model: one", "faces: 9, negatives: 0"]);
    }
}
