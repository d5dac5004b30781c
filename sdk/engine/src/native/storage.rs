//! Storage, the alarm and timers, for the library.
//!
//! Owns the functions about what a room keeps. Invariant: keys are UTF-8, values bytes; what a value means is the
//! library's. It does not know values.

use room_sdk::host::{Current, Host as _, ListOptions, TimerRecord};
use room_sdk::{Result as SdkResult, StorageError, TimerError};
use rquickjs::{Array, Ctx, Object, Result};

use super::natives;
use crate::mode::in_room;
use crate::values::{Bytes, Text, failed, number, optional, whole};

natives! {
    "storageGet" => get,
    "storageGetMany" => get_many,
    "storagePut" => put,
    "storagePutMany" => put_many,
    "storageDelete" => delete,
    "storageDeleteMany" => delete_many,
    "storageList" => list,
    "storageDeleteAll" => delete_all,
    "storageBytes" => bytes,
    "storageBytesMax" => bytes_max,
    "alarmGet" => alarm,
    "alarmSet" => set_alarm,
    "alarmDelete" => delete_alarm,
    "alarmTries" => alarm_tries,
    "schedule" => schedule,
    "cancelTimer" => cancel_timer,
    "timers" => timers,
    "tick" => tick,
}

fn code(error: &StorageError) -> &'static str {
    match error {
        StorageError::InvalidKey(_) => "invalid-key",
        StorageError::ValueTooLarge(_) => "value-too-large",
        StorageError::TooManyWrites { .. } => "too-many-writes",
        StorageError::InvalidRange(_) => "invalid-range",
        _ => "unavailable",
    }
}

fn told<T>(ctx: &Ctx<'_>, result: SdkResult<T, StorageError>) -> Result<T> {
    result.map_err(|error| failed(ctx, code(&error), error))
}

fn told_timer<T>(ctx: &Ctx<'_>, result: SdkResult<T, TimerError>) -> Result<T> {
    result.map_err(|error| {
        let code = match &error {
            TimerError::BeyondLimit { .. } => "beyond-limit",
            TimerError::TooOften { .. } => "too-often",
            _ => "refused",
        };
        failed(ctx, code, error)
    })
}

fn keys(keys: Vec<Text>) -> Vec<Vec<u8>> {
    keys.into_iter().map(|key| key.0.into_bytes()).collect()
}

fn get(ctx: Ctx<'_>, key: Text) -> Result<Option<Bytes>> {
    in_room(&ctx)?;
    Ok(told(&ctx, Current::get(key.0.as_bytes()))?.map(Bytes))
}

fn get_many(ctx: Ctx<'_>, list: Vec<Text>) -> Result<Vec<Option<Bytes>>> {
    in_room(&ctx)?;
    let values = told(&ctx, Current::get_many(&keys(list)))?;
    Ok(values.into_iter().map(|value| value.map(Bytes)).collect())
}

fn put(ctx: Ctx<'_>, key: Text, value: Bytes) -> Result<()> {
    in_room(&ctx)?;
    told(&ctx, Current::put(key.0.as_bytes(), &value.0))
}

fn put_many(ctx: Ctx<'_>, entries: Vec<Array<'_>>) -> Result<()> {
    in_room(&ctx)?;
    let entry =
        |pair: Array<'_>| Ok((pair.get::<Text>(0)?.0.into_bytes(), pair.get::<Bytes>(1)?.0));
    let entries = entries.into_iter().map(entry).collect::<Result<Vec<_>>>()?;
    told(&ctx, Current::put_many(&entries))
}

fn delete(ctx: Ctx<'_>, key: Text) -> Result<bool> {
    in_room(&ctx)?;
    told(&ctx, Current::delete(key.0.as_bytes()))
}

fn delete_many(ctx: Ctx<'_>, list: Vec<Text>) -> Result<u32> {
    in_room(&ctx)?;
    told(&ctx, Current::delete_many(&keys(list)))
}

fn list<'js>(ctx: Ctx<'js>, options: Object<'js>) -> Result<Object<'js>> {
    in_room(&ctx)?;
    let key = |name| -> Result<Option<Vec<u8>>> {
        Ok(optional::<Text>(&options, name)?.map(|key| key.0.into_bytes()))
    };
    let limit = optional::<f64>(&options, "limit")?;
    let limit = limit.map(|limit| whole(&ctx, "limit", limit)).transpose()?;
    let options = ListOptions {
        start: key("start")?,
        start_after: key("startAfter")?,
        end: key("end")?,
        prefix: key("prefix")?,
        reverse: optional(&options, "reverse")?.unwrap_or_default(),
        limit: limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
    };
    let page = told(&ctx, Current::list(&options))?;
    let entries = Array::new(ctx.clone())?;
    for (at, (key, value)) in page.entries.into_iter().enumerate() {
        let entry = Array::new(ctx.clone())?;
        // A key of another writer than a script may be no text.
        entry.set(0, String::from_utf8_lossy(&key).into_owned())?;
        entry.set(1, Bytes(value))?;
        entries.set(at, entry)?;
    }
    let object = Object::new(ctx)?;
    object.set("entries", entries)?;
    object.set("more", page.more)?;
    Ok(object)
}

fn delete_all(ctx: Ctx<'_>) -> Result<()> {
    in_room(&ctx)?;
    told(&ctx, Current::delete_all())
}

fn bytes(ctx: Ctx<'_>) -> Result<f64> {
    in_room(&ctx)?;
    told(&ctx, Current::bytes()).map(number)
}

fn bytes_max(ctx: Ctx<'_>) -> Result<f64> {
    in_room(&ctx)?;
    Ok(number(Current::bytes_max()))
}

fn alarm(ctx: Ctx<'_>) -> Result<Option<f64>> {
    in_room(&ctx)?;
    Ok(Current::alarm().map(number))
}

fn set_alarm(ctx: Ctx<'_>, at: f64) -> Result<()> {
    in_room(&ctx)?;
    Current::set_alarm(whole(&ctx, "the time of an alarm", at)?);
    Ok(())
}

fn delete_alarm(ctx: Ctx<'_>) -> Result<()> {
    in_room(&ctx)?;
    Current::delete_alarm();
    Ok(())
}

fn alarm_tries(ctx: Ctx<'_>) -> Result<u32> {
    in_room(&ctx)?;
    Ok(Current::alarm_tries())
}

fn schedule(ctx: Ctx<'_>, timer: Object<'_>) -> Result<String> {
    in_room(&ctx)?;
    let every = optional::<f64>(&timer, "every")?;
    let every = every.map(|every| whole(&ctx, "every", every)).transpose()?;
    let record = TimerRecord {
        at_ms: whole(&ctx, "at", timer.get("at")?)?,
        every_ms: every,
        tag: timer.get::<_, Text>("tag")?.0,
        data: timer.get::<_, Bytes>("data")?.0,
        ..TimerRecord::default()
    };
    told_timer(&ctx, Current::schedule(record))
}

fn cancel_timer(ctx: Ctx<'_>, id: Text) -> Result<bool> {
    in_room(&ctx)?;
    Ok(Current::cancel(&id.0))
}

fn timers<'js>(ctx: Ctx<'js>) -> Result<Vec<Object<'js>>> {
    in_room(&ctx)?;
    let describe = |timer: TimerRecord| {
        let object = Object::new(ctx.clone())?;
        object.set("id", timer.id)?;
        object.set("at", number(timer.at_ms))?;
        object.set("every", timer.every_ms.map(number))?;
        object.set("tag", timer.tag)?;
        object.set("data", Bytes(timer.data))?;
        object.set("tries", timer.tries)?;
        Ok(object)
    };
    Current::timers().into_iter().map(describe).collect()
}

fn tick(ctx: Ctx<'_>, every: Option<f64>) -> Result<()> {
    in_room(&ctx)?;
    let every = every.map(|every| whole(&ctx, "the pause between ticks", every)).transpose()?;
    told_timer(&ctx, Current::tick(every.map(|every| u32::try_from(every).unwrap_or(u32::MAX))))
}
