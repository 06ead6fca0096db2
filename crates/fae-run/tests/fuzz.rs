//! Cards of any text: an error that names the line, or a card that survives being written.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use fae_run::Card;
use testing::Counting;
use testing::fuzzing::Target;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn any_text_is_a_card_or_an_error_with_its_line() {
    testing::fuzzing::run(&mut [Target {
        name: "data set card",
        seeds: Card::names().map(card_text).collect(),
        executions: 1_000,
        check: Box::new(card),
    }]);
}

fn card_text(name: &str) -> Vec<u8> {
    toml::to_string(&Card::builtin(name).unwrap())
        .unwrap()
        .into_bytes()
}

fn card(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    match Card::parse(&text, "mine.toml") {
        Ok(card) => {
            let again = Card::parse(&toml::to_string(&card).unwrap(), "again.toml").unwrap();
            assert!(again == card || text.contains("nan"));
            true
        }
        Err(error) => {
            assert!(error.to_string().starts_with("mine.toml, line "), "{error}");
            false
        }
    }
}
