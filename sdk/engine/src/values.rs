//! Values on their way between Rust and JavaScript.
//!
//! Owns the conversions that `rquickjs` leaves open, and the errors that a script sees. Invariant: text that is not
//! well-formed UTF-16 arrives with replacement characters, as at a browser's WebSocket. It does not know the host.

use room_sdk::Timer;
use room_sdk::host::{RequestParts, ResponseParts};
use room_sdk::prelude::Message;
use rquickjs::{
    Array, ArrayBuffer, Ctx, Exception, FromJs, Function, IntoJs, Object, Result, TypedArray, Value,
};

/// Makes the error that a script gets for a refused call, with a `code` for programs.
pub(crate) fn refuse(ctx: &Ctx<'_>, code: &str, text: &str) -> rquickjs::Error {
    match Exception::from_message(ctx.clone(), text) {
        Ok(error) => match error.as_object().set("code", code) {
            Ok(()) => error.throw(),
            Err(error) => error,
        },
        Err(error) => error,
    }
}

/// Makes the error that a script gets for a failure of the SDK.
pub(crate) fn failed(ctx: &Ctx<'_>, code: &str, error: impl std::fmt::Display) -> rquickjs::Error {
    refuse(ctx, code, &format!("{error:#}"))
}

/// Makes a `TypeError`.
pub(crate) fn type_error(ctx: &Ctx<'_>, text: &str) -> rquickjs::Error {
    Exception::throw_type(ctx, text)
}

/// Text; lone surrogates become U+FFFD.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text(pub(crate) String);

impl<'js> FromJs<'js> for Text {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        let text =
            value.into_string().ok_or_else(|| type_error(ctx, "the native call needs a string"))?;
        if let Ok(own) = text.to_string() {
            return Ok(Self(own));
        }
        let repair: Function = ctx
            .globals()
            .get::<_, Object>("String")?
            .get::<_, Object>("prototype")?
            .get("toWellFormed")?;
        let repaired: String = repair.call((rquickjs::prelude::This(text),))?;
        Ok(Self(repaired))
    }
}

/// Bytes: a `Uint8Array` towards the script; from it any view or an `ArrayBuffer`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl<'js> FromJs<'js> for Bytes {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        let array = match ArrayBuffer::from_value(value.clone()) {
            Some(buffer) => TypedArray::<u8>::from_arraybuffer(buffer),
            None => TypedArray::from_value(value),
        };
        let array = array
            .map_err(|_| type_error(ctx, "the native call needs a Uint8Array or an ArrayBuffer"))?;
        #[expect(unsafe_code, reason = "rquickjs has no safe way to copy bytes out of an array")]
        // SAFETY: the bytes are copied before any script runs again.
        let bytes = unsafe { array.as_bytes() }.map(<[u8]>::to_vec);
        bytes.map(Self).ok_or_else(|| type_error(ctx, "the array's buffer is detached"))
    }
}

impl<'js> IntoJs<'js> for Bytes {
    fn into_js(self, ctx: &Ctx<'js>) -> Result<Value<'js>> {
        Ok(TypedArray::new(ctx.clone(), self.0)?.into_value())
    }
}

/// A message: text or bytes.
pub(crate) struct Said(pub(crate) Message);

impl<'js> FromJs<'js> for Said {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        if value.is_string() {
            return Ok(Self(Message::text(Text::from_js(ctx, value)?.0)));
        }
        Ok(Self(Message::binary(Bytes::from_js(ctx, value)?.0)))
    }
}

/// As a room's handler has it: a string or an `ArrayBuffer`.
impl<'js> IntoJs<'js> for Said {
    fn into_js(self, ctx: &Ctx<'js>) -> Result<Value<'js>> {
        match self.0 {
            Message::Text(text) => text.into_js(ctx),
            Message::Binary(bytes) => Ok(ArrayBuffer::new(ctx.clone(), bytes)?.into_value()),
        }
    }
}

/// A field of an object that may be absent, `undefined` or `null`.
pub(crate) fn optional<'js, T: FromJs<'js>>(object: &Object<'js>, name: &str) -> Result<Option<T>> {
    let value: Value = object.get(name)?;
    if value.is_undefined() || value.is_null() {
        return Ok(None);
    }
    T::from_js(object.ctx(), value).map(Some)
}

/// A time or a count of a script as a whole number; refused if it is not one.
pub(crate) fn whole(ctx: &Ctx<'_>, what: &str, value: f64) -> Result<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !(0.0..=EXACT).contains(&value) {
        return Err(type_error(ctx, &format!("{what} has to be a number from 0 to 2^53")));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "its range is checked"
    )]
    Ok(value as u64)
}

/// A number for a script.
#[expect(clippy::cast_precision_loss, reason = "times and sizes are far below 2^53")]
pub(crate) fn number(value: u64) -> f64 {
    value as f64
}

/// Headers as pairs; a value is the text of its bytes, each a code unit, as in the Fetch standard's byte strings.
pub(crate) fn headers_in<'js>(
    ctx: &Ctx<'js>,
    headers: Vec<(String, Vec<u8>)>,
) -> Result<Array<'js>> {
    let list = Array::new(ctx.clone())?;
    for (at, (name, value)) in headers.into_iter().enumerate() {
        let pair = Array::new(ctx.clone())?;
        pair.set(0, name)?;
        pair.set(1, value.into_iter().map(char::from).collect::<String>())?;
        list.set(at, pair)?;
    }
    Ok(list)
}

/// The bytes of a header's value: one of each code unit, as in [`headers_in`], or UTF-8 if one has no byte.
fn header_bytes(value: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = value.chars().map(|unit| u8::try_from(unit).ok()).collect();
    bytes.unwrap_or_else(|| value.as_bytes().to_vec())
}

fn headers_out<'js>(object: &Object<'js>) -> Result<Vec<(String, Vec<u8>)>> {
    let pairs: Vec<Vec<Text>> = optional(object, "headers")?.unwrap_or_default();
    pairs
        .into_iter()
        .map(|pair| match <[Text; 2]>::try_from(pair) {
            Ok([name, value]) => Ok((name.0.to_ascii_lowercase(), header_bytes(&value.0))),
            Err(_) => Err(type_error(object.ctx(), "a header has to be a pair of name and value")),
        })
        .collect()
}

fn body_out(object: &Object<'_>) -> Result<Vec<u8>> {
    let value: Value = object.get("body")?;
    if value.is_undefined() || value.is_null() {
        return Ok(Vec::new());
    }
    if value.is_string() {
        return Ok(Text::from_js(object.ctx(), value)?.0.into_bytes());
    }
    Ok(Bytes::from_js(object.ctx(), value)?.0)
}

/// A timer towards a script.
pub(crate) fn timer_in<'js>(ctx: &Ctx<'js>, timer: &Timer) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("id", timer.id())?;
    object.set("at", number(timer.at().as_millis()))?;
    let every = timer.every().map(|every| every.as_secs_f64() * 1_000.0);
    object.set("every", every)?;
    object.set("tag", timer.tag())?;
    object.set("data", Bytes(timer.bytes().to_vec()))?;
    object.set("tries", timer.tries())?;
    Ok(object)
}

/// A request towards a script.
pub(crate) fn request_in<'js>(ctx: &Ctx<'js>, request: RequestParts) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("method", request.method)?;
    object.set("uri", request.uri)?;
    object.set("headers", headers_in(ctx, request.headers)?)?;
    object.set("body", Bytes(request.body))?;
    Ok(object)
}

/// A request from a script; its URL is `url` or `uri`.
pub(crate) fn request_out(object: &Object<'_>) -> Result<RequestParts> {
    let uri: Option<Text> = optional(object, "url")?;
    let uri = match uri {
        Some(uri) => uri,
        None => object.get("uri")?,
    };
    let method: Option<Text> = optional(object, "method")?;
    Ok(RequestParts {
        method: method.map_or_else(|| "GET".to_owned(), |method| method.0),
        uri: uri.0,
        headers: headers_out(object)?,
        body: body_out(object)?,
    })
}

/// A response towards a script.
pub(crate) fn response_in<'js>(ctx: &Ctx<'js>, response: ResponseParts) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("status", response.status)?;
    object.set("headers", headers_in(ctx, response.headers)?)?;
    object.set("body", Bytes(response.body))?;
    Ok(object)
}

/// A response from a script.
pub(crate) fn response_out(object: &Object<'_>) -> Result<ResponseParts> {
    Ok(ResponseParts {
        status: object.get("status")?,
        headers: headers_out(object)?,
        body: body_out(object)?,
    })
}
