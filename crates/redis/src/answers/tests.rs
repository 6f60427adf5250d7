use super::*;
use crate::testing::{TestRedis, until};

const LONG: Duration = Duration::from_secs(10);
const KEY: [u8; 32] = [7; 32];

fn secret() -> Secret {
    "0123456789abcdef0123456789abcdef".into()
}

async fn answers(server: &TestRedis) -> SharedAnswers {
    SharedAnswers::start(server.client().await, &secret(), 1000).unwrap()
}

fn answer(payload: &'static [u8], ttl: Duration) -> SharedAnswer {
    SharedAnswer {
        key: KEY,
        ttl,
        bytes: payload.len(),
        encode: Box::new(|| payload.to_vec()),
    }
}

async fn put(answers: &SharedAnswers, answer: SharedAnswer) {
    let before = answers.stats().written;
    answers.put(answer);
    until(|| answers.stats().written > before).await;
}

/// The only key of the answers in a Redis.
async fn only_key(server: &TestRedis) -> String {
    let keys = server.command(&["KEYS", "tidegate:answer:*"]).await;
    let [key]: [String; 1] = redis::from_redis_value::<Vec<String>>(keys)
        .unwrap()
        .try_into()
        .unwrap();
    key
}

#[tokio::test]
async fn an_answer_of_one_server_is_found_by_another() {
    let server = TestRedis::start(&[]);
    let (writer, reader) = (answers(&server).await, answers(&server).await);
    assert_eq!(reader.get(&KEY, LONG).await, None);
    put(&writer, answer(b"0.98", LONG)).await;
    let found = reader.get(&KEY, LONG).await.unwrap();
    assert_eq!(found.payload, b"0.98");
    assert!(found.age < LONG);
    assert_eq!(reader.get(&[8; 32], LONG).await, None);
    let stats = reader.stats();
    assert_eq!((stats.found, stats.absent), (1, 2));
}

#[tokio::test]
async fn an_answer_goes_after_its_time() {
    let server = TestRedis::start(&[]);
    let answers = answers(&server).await;
    put(&answers, answer(b"0.98", Duration::from_millis(1))).await;
    while answers.get(&KEY, LONG).await.is_some() {}
    assert_eq!(answers.stats().unreadable, 0);
}

#[tokio::test]
async fn what_somebody_else_wrote_is_never_given() {
    let server = TestRedis::start(&[]);
    let answers = answers(&server).await;
    put(&answers, answer(b"0.98", LONG)).await;
    let key = only_key(&server).await;
    server.command(&["SETRANGE", &key, "30", "x"]).await;
    assert_eq!(answers.get(&KEY, LONG).await, None);
    server.command(&["SET", &key, "0.98"]).await;
    assert_eq!(answers.get(&KEY, LONG).await, None);
    // Far longer than what may be kept: only the beginning is read.
    server.command(&["SETRANGE", &key, "3000000", "x"]).await;
    assert_eq!(answers.get(&KEY, LONG).await, None);
    server.command(&["DEL", &key]).await;
    server.command(&["LPUSH", &key, "x"]).await;
    assert_eq!(answers.get(&KEY, LONG).await, None);
    assert_eq!(answers.stats().unreadable, 3);
}

#[tokio::test]
async fn servers_with_another_secret_share_nothing() {
    let server = TestRedis::start(&[]);
    let one = answers(&server).await;
    let secret = "another secret of thirty-two bytes".into();
    let other = SharedAnswers::start(server.client().await, &secret, 1000).unwrap();
    put(&one, answer(b"0.98", LONG)).await;
    assert_eq!(other.get(&KEY, LONG).await, None);
    let short = SharedAnswers::start(server.client().await, &"short".into(), 1000);
    assert_eq!(short.unwrap_err(), SharedAnswersError::ShortSecret);
}

#[tokio::test]
async fn too_large_an_answer_is_not_kept() {
    let server = TestRedis::start(&[]);
    let answers = answers(&server).await;
    answers.put(answer(&[0; 1001], LONG));
    // Its size was not known before.
    answers.put(SharedAnswer {
        bytes: 1,
        ..answer(&[0; 1001], LONG)
    });
    until(|| answers.stats().too_large == 2).await;
    assert_eq!(answers.get(&KEY, LONG).await, None);
}

#[tokio::test]
async fn while_redis_is_away_nobody_waits_and_nothing_is_queued() {
    let server = TestRedis::stopped(&[]);
    let redis = RedisClient::start(&server.config()).unwrap().unwrap();
    let answers = SharedAnswers::start(redis, &secret(), 1000).unwrap();
    for _ in 0..10 {
        assert_eq!(answers.get(&KEY, LONG).await, None);
        answers.put(answer(b"0.98", LONG));
    }
    let stats = answers.stats();
    assert_eq!((stats.unavailable, stats.dropped), (10, 10));
    assert_eq!(answers.shared.queued_bytes.load(Ordering::Relaxed), 0);
}
