//! What a publisher says of its stream.

use serde_json::{Map, Value};

use super::super::errors::{self, RpcError};
use super::super::{first, json};
use super::Params;
use crate::openvidu::Generation;
use crate::session::MediaOptions;

/// Longest text among the options of a stream, in bytes.
const OPTION_LEN_MAX: usize = 1_024;

/// Whether `text` is the JSON of a width and a height. Clients parse it unguarded: with anything else everybody who
/// joins later would wait for ever.
pub(super) fn is_dimensions(text: &str) -> bool {
    let Ok(value) = json::parse(text.as_bytes()) else { return false };
    text.len() <= OPTION_LEN_MAX && value["width"].is_number() && value["height"].is_number()
}

/// What the publisher says of its stream; what does not apply to it is left out.
pub(super) fn media_options(
    params: &Params,
    offer: &str,
    generation: Generation,
) -> Result<MediaOptions, RpcError> {
    let is_first = generation == Generation::First;
    let has = |name: &str, kind: &str, active: &str| {
        let stated = params.optional_bool(name)?;
        if is_first && stated.is_none() {
            // Its offer says what it sends, and what others call muted it calls absent.
            return Ok(first::offers(offer, kind) && params.optional_bool(active)?.unwrap_or(true));
        }
        Ok::<_, RpcError>(stated.unwrap_or(false))
    };
    let has_audio = has("hasAudio", "audio", "audioActive")?;
    let has_video = has("hasVideo", "video", "videoActive")?;
    if !has_audio && !has_video {
        return Err(RpcError::new(errors::SDP, "a stream has audio or video"));
    }
    let text = |name: &str| {
        let text = params.optional_text(name)?;
        if text.is_some_and(|text| text.len() > OPTION_LEN_MAX) {
            Err(RpcError::param(name))
        } else {
            Ok(text)
        }
    };
    let active = |name: &str, has: bool| -> Result<Option<bool>, RpcError> {
        let value = params.optional_bool(name)?.unwrap_or(true);
        Ok(has.then_some(value))
    };
    // Applications may pass on an empty one of a stream that had none.
    if params
        .value("filter")
        .is_some_and(|filter| !filter.is_null() && filter.as_object().is_none_or(|one| !one.is_empty()))
    {
        return Err(RpcError::new(errors::NOT_ENABLED, "this server has no filters"));
    }
    let type_of_video = text("typeOfVideo")?.filter(|kind| has_video && !(is_first && kind.is_empty()));
    if type_of_video.is_some_and(|kind| !matches!(kind, "CAMERA" | "SCREEN" | "CUSTOM")) {
        return Err(RpcError::param("typeOfVideo"));
    }
    Ok(MediaOptions {
        has_audio,
        has_video,
        audio_active: active("audioActive", has_audio)?,
        video_active: active("videoActive", has_video)?,
        type_of_video: type_of_video.map(str::to_owned),
        frame_rate: params.value("frameRate").and_then(Value::as_i64).filter(|_| has_video),
        video_dimensions: params
            .optional_text("videoDimensions")?
            .filter(|text| has_video && is_dimensions(text))
            .map(str::to_owned),
        filter: Map::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openvidu::rpc::Request;

    fn options(more: &str) -> MediaOptions {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"m","id":1,"params":{{{more}}}}}"#);
        media_options(&Request::parse(&text).unwrap().params, "", Generation::Second).unwrap()
    }

    #[test]
    fn the_first_generation_says_by_its_offer_what_it_publishes() {
        let offer = "v=0\r\nm=audio 9 X 111\r\na=sendonly\r\nm=video 9 X 96\r\na=sendonly\r\n";
        let kinds = |params: &str, offer: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"m","id":1,"params":{{{params}}}}}"#);
            let options = media_options(&Request::parse(&text).unwrap().params, offer, Generation::First);
            options.map(|options| (options.has_audio, options.has_video, options.type_of_video))
        };
        assert_eq!(kinds("", offer), Ok((true, true, None)), "1.0.2");
        let audio = r#""audioActive":true,"videoActive":false,"typeOfVideo":"""#;
        assert_eq!(kinds(audio, offer), Ok((true, false, None)), "1.9.0 without a camera");
        let both = r#""audioActive":true,"videoActive":true,"typeOfVideo":"SCREEN""#;
        assert_eq!(kinds(both, offer), Ok((true, true, Some("SCREEN".to_owned()))));
        assert!(kinds("", "v=0\r\n").is_err(), "nothing at all");
    }

    #[test]
    fn dimensions_are_two_numbers_in_json() {
        for good in [r#"{"width":1280,"height":720}"#, r#"{"height":0.5,"width":-1,"x":null}"#] {
            assert!(is_dimensions(good), "{good}");
        }
        let long = format!(r#"{{"width":1,"height":1,"x":"{}"}}"#, "x".repeat(OPTION_LEN_MAX));
        let twice = r#"{"width":1,"width":2,"height":1}"#;
        for bad in ["", "{", "null", "[1,2]", r#"{"width":1}"#, r#"{"width":"1","height":"2"}"#, twice, &long]
        {
            assert!(!is_dimensions(bad), "{bad}");
        }
    }

    #[test]
    fn what_clients_could_not_parse_is_left_out() {
        let video = r#""hasAudio":true,"hasVideo":true,"typeOfVideo":"CAMERA""#;
        assert_eq!(options(&format!(r#"{video},"videoDimensions":"{{""#)).video_dimensions, None);
        let given = options(&format!(r#"{video},"videoDimensions":"{{\"width\":1,\"height\":2}}""#));
        assert_eq!(given.video_dimensions.as_deref(), Some(r#"{"width":1,"height":2}"#));
        let audio = r#""hasAudio":true,"videoDimensions":"{\"width\":1,\"height\":2}""#;
        assert_eq!(options(audio).video_dimensions, None);
    }
}
