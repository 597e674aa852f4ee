//! Names to positions: a full path, or an end of it that is unambiguous.

use std::collections::HashMap;

/// Why a name leads to no function.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// No function of that name is registered.
    #[error("unknown task `{name}`; {}", hint(near, others))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// Names like it, the most alike first.
        near: Vec<String>,
        /// Some of the full paths that there are, if no name is like it.
        others: Vec<String>,
    },
    /// No function is registered at all.
    #[error(
        "unknown task `{name}`: no task is registered in this program; a crate that is only listed in \
         Cargo.toml is not linked: write `use my_tasks as _;` with the name of the crate that has them"
    )]
    NothingRegistered {
        /// The name that was asked for.
        name: String,
    },
    /// Several functions have that short name.
    #[error("ambiguous task `{name}`: there are {}; write more of the path", listed(paths))]
    Ambiguous {
        /// The name that was asked for.
        name: String,
        /// What it may mean.
        paths: Vec<String>,
    },
    /// Two functions have the same full path.
    #[error("two tasks are called `{path}`: {first} and {second}; give one another name or module")]
    Clash {
        /// The path of both.
        path: String,
        /// Where one is declared.
        first: String,
        /// Where the other is declared.
        second: String,
    },
}

/// At most so many names are listed in an error.
const LISTED_MAX: usize = 10;

/// Finds by name among paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Every path and every end of one that begins at a segment.
    positions: HashMap<Box<str>, Position>,
    paths: Vec<Box<str>>,
    clash: Option<FindError>,
}

#[derive(Clone, Copy, Debug)]
enum Position {
    Path(usize),
    /// The end of one path only.
    End(usize),
    Ambiguous,
    Clash,
}

impl Names {
    /// Of paths in their order of position, each with the place of its declaration if it is known.
    pub(crate) fn new(paths: impl IntoIterator<Item = (impl AsRef<str>, Option<String>)>) -> Self {
        let mut names = Self::default();
        let mut locations = Vec::new();
        for (position, (path, location)) in paths.into_iter().enumerate() {
            let path = path.as_ref();
            match names.positions.insert(path.into(), Position::Path(position)) {
                Some(Position::Path(first)) => {
                    names.clash.get_or_insert_with(|| FindError::Clash {
                        path: path.to_owned(),
                        first: Option::clone(&locations[first]).unwrap_or_else(unknown_place),
                        second: location.clone().unwrap_or_else(unknown_place),
                    });
                    names.positions.insert(path.into(), Position::Clash);
                }
                Some(Position::Clash) => {
                    names.positions.insert(path.into(), Position::Clash);
                }
                Some(Position::End(_) | Position::Ambiguous) | None => {}
            }
            for end in ends(path) {
                names
                    .positions
                    .entry(end.into())
                    .and_modify(|known| {
                        if let Position::End(_) = known {
                            *known = Position::Ambiguous;
                        }
                    })
                    .or_insert(Position::End(position));
            }
            names.paths.push(path.into());
            locations.push(location);
        }
        names
    }

    pub(crate) fn find(&self, name: &str) -> Result<usize, FindError> {
        match self.positions.get(name) {
            Some(Position::Path(position) | Position::End(position)) => Ok(*position),
            Some(Position::Ambiguous) => Err(self.ambiguous(name)),
            Some(Position::Clash) => Err(self.clash_of(name)),
            None => Err(self.unknown(name)),
        }
    }

    pub(crate) fn check_clashes(&self) -> Result<(), FindError> {
        self.clash.clone().map_or(Ok(()), Err)
    }

    #[cold]
    fn ambiguous(&self, name: &str) -> FindError {
        let mut paths: Vec<_> = self
            .paths
            .iter()
            .filter(|path| ends(path).any(|end| end == name))
            .map(|path| path.clone().into_string())
            .collect();
        paths.sort();
        paths.dedup();
        if let [path] = &paths[..] {
            return self.clash_of(path);
        }
        FindError::Ambiguous { name: name.to_owned(), paths }
    }

    #[cold]
    fn clash_of(&self, path: &str) -> FindError {
        match &self.clash {
            Some(clash @ FindError::Clash { path: clashing, .. }) if **clashing == *path => {
                clash.clone()
            }
            _ => FindError::Clash {
                path: path.to_owned(),
                first: unknown_place(),
                second: unknown_place(),
            },
        }
    }

    #[cold]
    fn unknown(&self, name: &str) -> FindError {
        if self.paths.is_empty() {
            return FindError::NothingRegistered { name: name.to_owned() };
        }
        let near = self.near(name);
        let mut others = Vec::new();
        if near.is_empty() {
            others.extend(self.paths.iter().map(|path| path.clone().into_string()));
            others.sort();
        }
        FindError::Unknown { name: name.to_owned(), near, others }
    }

    /// The names most like `name`, each in its shortest unambiguous form.
    #[cfg(feature = "json")]
    fn near(&self, name: &str) -> Vec<String> {
        let wanted = name.rsplit("::").next().unwrap_or(name).to_lowercase();
        let mut alike: Vec<_> = self
            .paths
            .iter()
            .enumerate()
            .filter_map(|(position, path)| {
                let last = path.rsplit("::").next().unwrap_or(path).to_lowercase();
                let likeness = strsim::jaro_winkler(&wanted, &last);
                (likeness > 0.8).then(|| (likeness, self.shortest(position)))
            })
            .collect();
        alike.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        alike.dedup();
        alike.into_iter().take(3).map(|(_, path)| path).collect()
    }

    #[cfg(not(feature = "json"))]
    fn near(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    #[cfg(feature = "json")]
    fn shortest(&self, position: usize) -> String {
        let path = &*self.paths[position];
        ends(path)
            .filter(
                |end| matches!(self.positions.get(*end), Some(Position::End(p)) if *p == position),
            )
            .last()
            .unwrap_or(path)
            .to_owned()
    }
}

/// Every proper end of a path that begins at a segment, the longest first.
fn ends(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices("::").map(|(at, separator)| &path[at + separator.len()..])
}

fn unknown_place() -> String {
    "a place that is not known".to_owned()
}

fn hint(near: &[String], others: &[String]) -> String {
    match near {
        [] => {
            let shown = others.len().min(LISTED_MAX);
            let more = match others.len() - shown {
                0 => String::new(),
                count => format!(" and {count} more"),
            };
            let names: Vec<_> = others[..shown].iter().map(|path| format!("`{path}`")).collect();
            format!("there are {}{more}", names.join(", "))
        }
        near => {
            let names: Vec<_> = near.iter().map(|name| format!("`{name}`")).collect();
            format!("did you mean {}?", names.join(" or "))
        }
    }
}

fn listed(paths: &[String]) -> String {
    let names: Vec<_> = paths.iter().map(|path| format!("`{path}`")).collect();
    names.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Names {
        let place = |position| Some(format!("src/tasks.rs:{position}"));
        Names::new(paths.iter().enumerate().map(|(position, path)| (*path, place(position))))
    }

    fn check(paths: &[&str], name: &str, expected: Result<usize, &str>) {
        let found = names(paths).find(name).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn full_paths_and_unambiguous_ends_are_found() {
        let paths = ["shop::image::resize", "shop::video::resize", "shop::image::crop"];
        check(&paths, "shop::video::resize", Ok(1));
        check(&paths, "video::resize", Ok(1));
        check(&paths, "crop", Ok(2));
        // Not at the beginning of a segment.
        check(
            &["a::recrop", "b::other"],
            "crop",
            Err("unknown task `crop`; did you mean `recrop`?"),
        );
    }

    #[test]
    fn a_full_path_goes_before_the_end_of_another() {
        for paths in [["b::f", "a::b::f"], ["a::b::f", "b::f"]] {
            let position = paths.iter().position(|path| *path == "b::f").expect("it is there");
            check(&paths, "b::f", Ok(position));
        }
    }

    #[test]
    fn an_ambiguous_name_names_all() {
        check(
            &["shop::video::resize", "shop::image::resize"],
            "resize",
            Err(
                "ambiguous task `resize`: there are `shop::image::resize` and `shop::video::resize`; \
                 write more of the path",
            ),
        );
    }

    #[test]
    fn an_unknown_name_lists_the_nearest_or_all() {
        let paths = ["shop::image::thumbnail", "shop::sum"];
        check(&paths, "thumbnial", Err("unknown task `thumbnial`; did you mean `thumbnail`?"));
        check(
            &paths,
            "xyz",
            Err("unknown task `xyz`; there are `shop::image::thumbnail`, `shop::sum`"),
        );
        // Suggested in a form that can be found.
        check(
            &["a::resize", "b::resize"],
            "resise",
            Err("unknown task `resise`; did you mean `a::resize` or `b::resize`?"),
        );
        let many: Vec<_> = (0..12).map(|number| format!("m::f{number:02}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let error = names(&many).find("quite different").expect_err("unknown").to_string();
        assert!(error.ends_with("`m::f08`, `m::f09` and 2 more"), "{error}");
    }

    #[test]
    fn nothing_registered_gives_the_hint() {
        check(
            &[],
            "resize",
            Err(
                "unknown task `resize`: no task is registered in this program; a crate that is only \
                 listed in Cargo.toml is not linked: write `use my_tasks as _;` with the name of the \
                 crate that has them",
            ),
        );
    }

    #[test]
    fn two_with_one_path_name_both_places() {
        let clash = "two tasks are called `a::f`: src/tasks.rs:0 and src/tasks.rs:1; give one another \
                     name or module";
        let paths = ["a::f", "a::f", "a::g"];
        check(&paths, "a::f", Err(clash));
        check(&paths, "f", Err(clash));
        check(&paths, "g", Ok(2));
        let error = names(&paths).check_clashes().expect_err("they clash");
        assert_eq!(error.to_string(), clash);
        assert_eq!(names(&["a::f", "b::f"]).check_clashes(), Ok(()));
    }
}
