//! Values of a thread, by name.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::AtomicU8;

type Values = HashMap<Box<str>, Rc<dyn Any>>;

thread_local! {
    /// By store and type.
    static VALUES: RefCell<HashMap<(usize, TypeId), Values>> = RefCell::default();
}

/// Values that each thread has for itself, by name and type: a connection that every thread of the pool opens
/// once, say.
///
/// Nothing of it is seen by another thread. It is dropped when the thread ends, which for an idle thread of the
/// pool is soon (see [`min_threads`](crate::SupervisorBuilder::min_threads)).
///
/// A name stands for one value of each type: what was set as a `u32` is not found as an `i32`.
///
/// ```
/// use atasker::extras::Locals;
///
/// static LOCALS: Locals = Locals::new();
///
/// LOCALS.set("depth", 3_u32);
/// assert_eq!(LOCALS.get("depth"), Some(3_u32));
/// std::thread::spawn(|| assert!(!LOCALS.has::<u32>("depth"))).join().unwrap();
///
/// assert_eq!(LOCALS.get_or("width", 7_u32), 7);
/// assert!(LOCALS.clear::<u32>("depth"));
/// assert_eq!(LOCALS.get::<u32>("depth"), None);
/// ```
#[derive(Debug)]
pub struct Locals {
    /// Its address is what tells one store from another.
    place: AtomicU8,
}

impl Locals {
    /// A store, for a `static`. What is set in one store is not found in another.
    #[expect(clippy::new_without_default, reason = "a `static` needs a `const fn`")]
    pub const fn new() -> Self {
        Self { place: AtomicU8::new(0) }
    }

    /// A clone of the value. Put what is dear to clone, or must be one and the same, into an `Rc`.
    pub fn get<T: Clone + 'static>(&'static self, name: &str) -> Option<T> {
        let value = self.with::<T, _>(|values| values.get(name).cloned())??;
        // Cloned here, where the store is not borrowed: it is code of the user's.
        value.downcast_ref::<T>().cloned()
    }

    /// A clone of the value, or `default` if there is none. Sets nothing.
    pub fn get_or<T: Clone + 'static>(&'static self, name: &str, default: T) -> T {
        self.get(name).unwrap_or(default)
    }

    /// A clone of the value, which is made and set if there is none.
    ///
    /// ```
    /// # use atasker::extras::Locals;
    /// use std::rc::Rc;
    /// static LOCALS: Locals = Locals::new();
    /// let first = LOCALS.get_or_set_with("connection", || Rc::new(String::from("open")));
    /// let again = LOCALS.get_or_set_with("connection", || Rc::new(String::new()));
    /// assert!(Rc::ptr_eq(&first, &again));
    /// ```
    pub fn get_or_set_with<T: Clone + 'static>(
        &'static self,
        name: &str,
        make: impl FnOnce() -> T,
    ) -> T {
        self.get(name).unwrap_or_else(|| {
            let value = make();
            self.set(name, value.clone());
            value
        })
    }

    /// Set a value, in the place of an earlier one of that type. Does nothing in a thread that is about to end,
    /// when its values have been dropped already.
    pub fn set<T: 'static>(&'static self, name: &str, value: T) {
        let value: Rc<dyn Any> = Rc::new(value);
        let before = self.with::<T, _>(|values| values.insert(name.into(), value));
        // Dropped here, where the store is not borrowed.
        drop(before);
    }

    /// Whether there is a value of this type.
    pub fn has<T: 'static>(&'static self, name: &str) -> bool {
        self.with::<T, _>(|values| values.contains_key(name)).unwrap_or(false)
    }

    /// Drop a value. `false`: there is none.
    pub fn clear<T: 'static>(&'static self, name: &str) -> bool {
        let value = self.with::<T, _>(|values| values.remove(name)).flatten();
        value.is_some()
    }

    /// Look at the values of this store and type. `None`: the thread has dropped them.
    fn with<T: 'static, R>(&'static self, look: impl FnOnce(&mut Values) -> R) -> Option<R> {
        let key = (self.place.as_ptr().addr(), TypeId::of::<T>());
        VALUES.try_with(|stores| look(stores.borrow_mut().entry(key).or_default())).ok()
    }
}
