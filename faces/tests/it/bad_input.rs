//! Images that are hard or useless, at each route that takes one. Needs `SIGHTLINE_SAMPLES_DIR` and models in `SIGHTLINE_MODELS_DIR`.

use std::path::Path;

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use vision::media::{DecodeLimits, decode};

use crate::test_service::TestService;

/// A photograph of an astronaut's face (NASA, public domain), with the four colours of print.
const CMYK: &[u8] = include_bytes!("../data/face_cmyk.jpg");

/// RGB pixels.
struct RgbImage {
    width: usize,
    rgb: Vec<u8>,
}

impl RgbImage {
    fn read(path: &Path) -> Self {
        let pixels = decode(&std::fs::read(path).unwrap(), &DecodeLimits::default()).unwrap();
        Self { width: pixels.width() as usize, rgb: pixels.rgb().to_vec() }
    }

    /// Each pixel by a function of its column and row.
    fn of(width: usize, height: usize, mut pixel: impl FnMut(usize, usize) -> [u8; 3]) -> Self {
        let places = (0..height).flat_map(|row| (0..width).map(move |column| (column, row)));
        Self { width, rgb: places.flat_map(|(column, row)| pixel(column, row)).collect() }
    }

    fn height(&self) -> usize {
        self.rgb.len() / 3 / self.width
    }

    fn at(&self, column: usize, row: usize) -> [u8; 3] {
        let start = (row * self.width + column) * 3;
        [self.rgb[start], self.rgb[start + 1], self.rgb[start + 2]]
    }

    /// The mean of a square of pixels.
    fn mean(&self, left: usize, top: usize, side: usize) -> [u8; 3] {
        let mut sum = [0_usize; 3];
        for (row, column) in (top..top + side).flat_map(|row| (left..left + side).map(move |column| (row, column))) {
            let pixel = self.at(column.min(self.width - 1), row.min(self.height() - 1));
            for (sum, level) in sum.iter_mut().zip(pixel) {
                *sum += usize::from(level);
            }
        }
        sum.map(|sum| (sum / (side * side)) as u8)
    }

    fn smaller(&self, by: usize) -> Self {
        Self::of(self.width / by, self.height() / by, |column, row| self.mean(column * by, row * by, by))
    }

    fn blurred(&self, side: usize) -> Self {
        Self::of(self.width, self.height(), |column, row| self.mean(column, row, side))
    }

    /// By 90° counterclockwise.
    fn turned_left(&self) -> Self {
        Self::of(self.height(), self.width, |column, row| self.at(self.width - 1 - row, column))
    }

    /// As a PNG with so many bits of each level.
    fn png(&self, bits: png::BitDepth) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height() as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(bits);
        let repeated = if bits == png::BitDepth::Sixteen { 2 } else { 1 };
        let levels: Vec<u8> = self.rgb.iter().flat_map(|level| vec![*level; repeated]).collect();
        encoder.write_header().unwrap().write_image_data(&levels).unwrap();
        bytes
    }
}

/// A PNG with a chunk behind its header.
fn with_chunk(png: &[u8], kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let chunk = [kind.as_slice(), content].concat();
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    let crc = !chunk.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)));
    [&png[..33], &(content.len() as u32).to_be_bytes(), &chunk, &crc.to_be_bytes(), &png[33..]].concat()
}

/// The EXIF block that says: turn this by 90° clockwise.
const TURN_RIGHT: &[u8] = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";

/// A child's drawing of a face.
fn drawing() -> RgbImage {
    let apart = |one: usize, other: usize| (one.abs_diff(other) as f64).powi(2);
    RgbImage::of(400, 400, |x, y| {
        let near = |column, row| (apart(x, column) + apart(y, row)).sqrt();
        let line = |distance: f64, radius: f64| distance <= radius && distance > radius - 6.0;
        let eyes = near(150, 160) <= 15.0 || near(250, 160) <= 15.0;
        let mouth = line(near(200, 230), 70.0) && y > 250;
        if line(near(200, 200), 200.0) || eyes || mouth { [0; 3] } else { [255; 3] }
    })
}

fn noise() -> RgbImage {
    let mut state = 1_u64;
    RgbImage::of(300, 300, |_, _| {
        [(); 3].map(|()| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
    })
}

/// A PNG whose header claims more pixels than are accepted.
fn too_large() -> Vec<u8> {
    let small = RgbImage::of(1, 1, |_, _| [0; 3]).png(png::BitDepth::Eight);
    let side = 60_000_u32.to_be_bytes();
    let header = [b"IHDR".as_slice(), &side, &side, &small[24..29]].concat();
    let claimed = with_chunk(&small, *b"IHDR", &header[4..]);
    // The new header, in the place of the old one.
    [&claimed[..8], &claimed[33..]].concat()
}

/// Images, each with the code of the response at enrolment, and at verification and search: `ok` for one that is accepted.
fn cases(samples: &Path) -> Vec<(&'static str, Vec<u8>, &'static str, &'static str)> {
    let file = |name: &str| std::fs::read(samples.join(name)).unwrap();
    let png = |image: &RgbImage| image.png(png::BitDepth::Eight);
    let photograph = RgbImage::read(&samples.join("faces/obama_a.jpg"));
    let (jpeg, half) = (file("faces/obama_a.jpg"), photograph.smaller(2));
    let [left, over] = [photograph.turned_left(), photograph.turned_left().turned_left()];
    let constant = |level: u8| png(&RgbImage::of(400, 400, |_, _| [level; 3]));
    vec![
        ("no face", file("vehicles/highway_1.jpg"), "no_face", "no_face"),
        ("two faces", file("faces/obama_biden_2faces.jpg"), "several_faces", "several_faces"),
        ("many faces", file("faces/solvay_1927_29faces.jpg"), "several_faces", "several_faces"),
        ("small", png(&photograph.smaller(6)), "face_too_small", "ok"),
        ("tiny", png(&photograph.smaller(16)), "face_not_comparable", "face_not_comparable"),
        ("a dot", png(&photograph.smaller(50)), "no_face", "no_face"),
        ("blurred", png(&half.blurred(17)), "face_blurred", "ok"),
        ("lies", png(&left), "face_not_upright", "face_not_upright"),
        ("stands on the head", png(&over), "face_not_upright", "face_not_upright"),
        ("lies on the other side", png(&over.turned_left()), "face_not_upright", "face_not_upright"),
        ("drawing", png(&drawing()), "no_face", "no_face"),
        ("noise", png(&noise()), "no_face", "no_face"),
        ("black", constant(0), "no_face", "no_face"),
        ("white", constant(255), "no_face", "no_face"),
        ("one pixel", png(&RgbImage::of(1, 1, |_, _| [0; 3])), "no_face", "no_face"),
        ("truncated JPEG", jpeg[..jpeg.len() / 2].to_vec(), "invalid_image", "invalid_image"),
        ("truncated PNG", png(&half)[..20_000].to_vec(), "invalid_image", "invalid_image"),
        ("too large", too_large(), "image_too_large", "image_too_large"),
        ("a strip", png(&RgbImage::of(1, 65_536, |_, _| [90; 3])), "image_too_large", "image_too_large"),
        ("nothing", Vec::new(), "empty_body", "empty_body"),
        ("the start of a JPEG", jpeg[..3].to_vec(), "invalid_image", "invalid_image"),
        ("turned, and EXIF says so", with_chunk(&png(&left), *b"eXIf", TURN_RIGHT), "ok", "ok"),
        ("16 bits", half.png(png::BitDepth::Sixteen), "ok", "ok"),
        ("CMYK", CMYK.to_vec(), "ok", "ok"),
    ]
}

#[tokio::test]
async fn each_route_names_what_is_wrong_with_an_image() {
    let Some((service, faces)) = TestService::with_models("each_route_names_what_is_wrong").await else { return };
    let known = service.subject("a", "Obama").await;
    service.enrol("a", &known, &faces.join("obama_b.jpg")).await;
    let verify = format!("/v1/faces/verify?subject={known}");
    for (name, image, at_enrolment, elsewhere) in cases(faces.parent().unwrap()) {
        // Of another tenant, so that it is not found below.
        let subject = service.subject("b", name).await;
        let enrol = format!("/v1/faces/subjects/{subject}/images");
        for (token, path, expected) in
            [("b", enrol.as_str(), at_enrolment), ("a", &verify, elsewhere), ("a", "/v1/faces/search", elsewhere)]
        {
            let (status, body) = service.send(token, Method::POST, path, image.clone()).await;
            let code = if status.is_success() { "ok" } else { body["code"].as_str().unwrap_or_default() };
            assert_eq!(code, expected, "{name}: {path}: {body}");
            let says_why = status.is_success() || body["detail"].as_str().is_some_and(|detail| detail.len() > 20);
            assert!(says_why, "{name}: {path}: {body}");
        }
    }
}

/// Upside down, the two people of this test have a similarity above the threshold.
#[tokio::test]
async fn turned_photographs_of_strangers_are_not_compared() {
    let Some((service, faces)) = TestService::with_models("turned_photographs_of_strangers").await else { return };
    let upside_down = |name: &str| {
        let turned = RgbImage::read(&faces.join(name)).turned_left().turned_left();
        turned.png(png::BitDepth::Eight)
    };
    let upright = |name: &str| std::fs::read(faces.join(name)).unwrap();
    let verdict = async |image: Vec<u8>, other: Vec<u8>| {
        let form = Form::new().part("image", Part::bytes(image)).part("other", Part::bytes(other));
        let (status, body) = service.form("a", "/v1/faces/verify", form).await;
        // The detail begins with the field.
        let field = body["detail"].as_str().and_then(|detail| detail.split_once(": ")).map_or("", |(field, _)| field);
        let code = body["code"].as_str().unwrap_or_default();
        (status.as_u16(), code.to_owned(), field.to_owned(), body["same"].clone())
    };
    let refused = |field: &str| (422, "face_not_upright".to_owned(), field.to_owned(), Value::Null);
    assert_eq!(verdict(upside_down("obama_a.jpg"), upside_down("biden_a.jpg")).await, refused("image"));
    assert_eq!(verdict(upside_down("obama_a.jpg"), upright("obama_b.jpg")).await, refused("image"));
    assert_eq!(verdict(upright("obama_b.jpg"), upside_down("obama_a.jpg")).await, refused("other"));
    let same = (200, String::new(), String::new(), true.into());
    assert_eq!(verdict(upright("obama_a.jpg"), upright("obama_b.jpg")).await, same);
}

#[tokio::test]
async fn an_image_of_any_form_is_seen_upright_and_in_its_colours() {
    let Some((service, faces)) = TestService::with_models("an_image_of_any_form").await else { return };
    let known = service.subject("a", "Obama").await;
    service.enrol("a", &known, &faces.join("obama_b.jpg")).await;
    let astronaut = service.subject("a", "Astronaut").await;
    service.enrol("a", &astronaut, &faces.join("astronaut_1face.png")).await;
    for (name, image, ..) in cases(faces.parent().unwrap()) {
        let person = match name {
            "turned, and EXIF says so" | "16 bits" => &known,
            "CMYK" => &astronaut,
            _ => continue,
        };
        let (_, found) = service.send("a", Method::POST, "/v1/faces/search?limit=1", image).await;
        assert_eq!(found["matches"][0]["subject"], person.as_str(), "{name}: {found}");
    }
}
