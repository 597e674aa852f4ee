//! What `#[task(io)]`, and `#[task]` on an `async fn`, generate drives this: the arguments go into a closure for the
//! thread pool or a future for a loop, so they must be owned and `Send`, and nothing is encoded or registered.

use super::returned::Describe;

/// A type whose values can go to another thread.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't go to the thread that runs the task: take something that is `Send` and \
               borrows nothing",
    label = "not `Send`"
)]
pub trait GoesToThread: Send {}

#[diagnostic::do_not_recommend]
impl<T: Send> GoesToThread for T {}

/// A type whose values can be given to a second attempt.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be given to a second attempt: implement `Clone` for it, or take `retries` \
               off the attribute",
    label = "not `Clone`"
)]
pub trait GivenAgain: Clone {}

#[diagnostic::do_not_recommend]
impl<T: Clone> GivenAgain for T {}

/// What the attribute of a task that runs in this process says of a function. The type that implements it is a helper, which stands for the
/// function and its parameters.
pub trait IoTask {
    /// What the function returns.
    type Output;

    /// What the error of a value says.
    fn describe() -> Describe<Self::Output>;
}

/// Checks the type of an owned parameter.
pub fn goes_to_thread<T: GoesToThread + 'static>() {}

/// How an owned argument of a task that has retries is cloned for an attempt.
pub fn given_again<T: GivenAgain>() -> fn(&T) -> T {
    T::clone
}

/// Parameter number `N` is of type `&Type` or `Option<&Type>`.
pub trait IoBorrowed<const N: usize> {
    /// The type behind the reference.
    type Type: ?Sized + ToOwned<Owned: GoesToThread + 'static>;
}

/// What owns argument `N` of `P` until the function borrows it.
pub type Owned<P, const N: usize> = <<P as IoBorrowed<N>>::Type as ToOwned>::Owned;

/// Copy a borrowed argument for the way to the thread.
pub fn own<P: IoBorrowed<N>, const N: usize>(argument: &P::Type) -> Owned<P, N> {
    argument.to_owned()
}

/// As [`own`], for an option.
pub fn own_option<P: IoBorrowed<N>, const N: usize>(
    argument: Option<&P::Type>,
) -> Option<Owned<P, N>> {
    argument.map(ToOwned::to_owned)
}

/// Borrow it there.
pub fn lend_owned<P: IoBorrowed<N>, const N: usize>(owned: &Owned<P, N>) -> &P::Type {
    std::borrow::Borrow::borrow(owned)
}
