//! Types and signatures as a person would write them, the same whatever the spacing of the source.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;

/// `TaskResult < Vec < u8 > >` as `TaskResult<Vec<u8>>`.
pub(crate) fn of(tokens: impl ToTokens) -> String {
    let mut text = String::new();
    append(&mut text, tokens.into_token_stream());
    text
}

fn append(text: &mut String, tokens: TokenStream) {
    // Whether the last token was a word, which needs a space before another.
    let mut after_word = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                append(text, group.stream());
                text.push_str(close);
                // As in `[u8] as`, but not as in `fn(u8) -> u8`, whose arrow brings its own.
                after_word = false;
            }
            TokenTree::Punct(punct) => {
                match punct.as_char() {
                    mark @ (',' | ';') => {
                        text.push(mark);
                        text.push(' ');
                    }
                    '+' => text.push_str(" + "),
                    '=' => text.push_str(" = "),
                    '-' => text.push_str(" -"),
                    '>' if text.ends_with(" -") => text.push_str("> "),
                    mark => text.push(mark),
                }
                after_word = false;
            }
            TokenTree::Ident(word) => {
                // A quote mark belongs to the lifetime that it begins; behind it no space.
                if after_word {
                    text.push(' ');
                }
                text.push_str(&word.to_string());
                after_word = true;
            }
            TokenTree::Literal(literal) => {
                if after_word {
                    text.push(' ');
                }
                text.push_str(&literal.to_string());
                after_word = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn types_read_as_written() {
        for text in [
            "TaskResult<Vec<u8>>",
            "&Path",
            "Option<&[u8]>",
            "std::collections::HashMap<String, (u8, f64)>",
            "[u8; 4]",
            "Box<dyn Fn(u8) -> u8 + Send>",
            "()",
            "<u8 as Into<u16>>::Type",
        ] {
            let tokens: proc_macro2::TokenStream = text.parse().expect("it is Rust");
            assert_eq!(super::of(tokens), text);
        }
    }
}
