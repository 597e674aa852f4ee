//! Tasks that run in worker processes: they are registered, and their arguments and results cross.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

use crate::signature::{Parameter, Passing, bare, plain};
use crate::task::{Task, hygienic};

/// The body of `call`.
pub(crate) fn call_body(task: &Task) -> TokenStream {
    let Task { helper, private, options, .. } = task;
    let krate = options.krate();
    let output = &task.function.output;
    let encoder = hygienic("encoder");
    let puts = task.function.parameters.iter().enumerate().map(|(position, parameter)| {
        let ident = &parameter.ident;
        match Crossing::of(parameter) {
            Crossing::Owned => quote!(#encoder.owned::<#helper, #position>(&#ident);),
            Crossing::OwnedAndLent => quote!(#encoder.owned::<#helper, #position>(#ident);),
            Crossing::Borrowed => quote!(#encoder.borrowed::<#helper, #position>(#ident);),
            Crossing::BorrowedOption => {
                quote!(#encoder.borrowed_option::<#helper, #position>(#ident);)
            }
        }
    });
    quote! {
        #[allow(unused_mut)]
        let mut #encoder = #private::ArgumentsEncoder::new(
            <#helper as #private::ProcessTask>::ENTRY.parameters,
        );
        #(#puts)*
        #krate::Call::<#output>::__new_process(
            <#helper as #private::ProcessTask>::ENTRY,
            #encoder.finish(),
            <#helper as #private::ProcessTask>::returns().decode,
        )
    }
}

/// The registration, and what runs in the worker.
pub(crate) fn tokens(task: &Task) -> TokenStream {
    let Task { helper, private, function, .. } = task;
    let cfgs = function.cfgs();
    let parameters = parameters(task);
    let entry = entry(task);
    let run = run(task);
    let digest = digest(task);
    let output = &function.output;
    // At the type's place, so that a type that can't cross is shown there.
    let returns = quote_spanned! {output.span()=>
        (&&&&&#private::Returned::<#output>::NEW).kind().ops()
    };
    quote! {
        #parameters

        #(#cfgs)*
        #[allow(deprecated, clippy::all, clippy::pedantic)]
        impl #private::ProcessTask for #helper {
            type Output = #output;

            // A static has one address, by which it is found.
            const ENTRY: &'static #private::TaskEntry = {
                static ENTRY: #private::TaskEntry = #entry;
                &ENTRY
            };

            fn returns() -> #private::ReturnOps<#output> {
                #[allow(unused_imports)]
                use #private::{
                    ViaDisplay as _, ViaError as _, ViaFailure as _, ViaPlain as _, ViaSilent as _,
                };
                #returns
            }

            #run
            #digest
        }

        #(#cfgs)*
        const _: () = {
            #private::inventory::submit! {
                #private::RegisteredTask(<#helper as #private::ProcessTask>::ENTRY)
            }
        };
    }
}

/// One impl for each parameter: the only place where its type's bounds are checked.
fn parameters(task: &Task) -> TokenStream {
    let Task { helper, private, function, .. } = task;
    let cfgs = function.cfgs();
    let impls = function.parameters.iter().enumerate().map(|(position, parameter)| {
        let crossing = parameter.crossing_type();
        match Crossing::of(parameter) {
            Crossing::Owned | Crossing::OwnedAndLent => quote! {
                #(#cfgs)*
                impl #private::OwnedParameter<#position> for #helper {
                    type Type = #crossing;

                    fn ops() -> #private::ParameterOps<#crossing> {
                        #private::parameter_ops::<#crossing>()
                    }
                }
            },
            Crossing::Borrowed | Crossing::BorrowedOption => {
                let form =
                    if is_byte_slice(crossing) { quote!(AsBytes) } else { quote!(AsDeclared) };
                quote! {
                    #(#cfgs)*
                    impl #private::BorrowedParameter<#position> for #helper {
                        type Form = #private::#form;
                        type Type = #crossing;
                    }
                }
            }
        }
    });
    quote!(#(#impls)*)
}

fn entry(task: &Task) -> TokenStream {
    let Task { helper, private, function, options, .. } = task;
    let name = plain(function.name());
    let signature = function.signature_text();
    let docs = function.docs();
    let declared = options.declared();
    let names = function.parameters.iter().map(Parameter::name);
    let type_names = function.parameters.iter().map(Parameter::type_text);
    let place = function.name().span();
    let line = quote_spanned!(place=> ::core::line!());
    quote! {
        #private::TaskEntry {
            path: ::core::concat!(::core::module_path!(), "::", #name),
            signature: #signature,
            parameters: &[#(#private::Parameter { name: #names, type_name: #type_names }),*],
            docs: #docs,
            file: ::core::file!(),
            line: #line,
            digest: <#helper as #private::ProcessTask>::digest,
            declared: #declared,
            run: <#helper as #private::ProcessTask>::run,
        }
    }
}

fn run(task: &Task) -> TokenStream {
    let Task { helper, private, function, .. } = task;
    let name = function.name();
    let (codec, bytes, buffer) = (hygienic("codec"), hygienic("bytes"), hygienic("buffer"));
    let (decoder, progress) = (hygienic("decoder"), hygienic("progress"));
    let (mut reads, mut locals, mut passed) = (Vec::new(), Vec::new(), Vec::new());
    for (position, parameter) in function.parameters.iter().enumerate() {
        let local = Task::local(position);
        let (read, argument) = match Crossing::of(parameter) {
            Crossing::Owned => (quote!(owned), quote!(#local)),
            Crossing::OwnedAndLent => (quote!(owned), quote!(&#local)),
            Crossing::Borrowed => {
                (quote!(borrowed), quote!(#private::lend::<#helper, #position>(&#local)))
            }
            Crossing::BorrowedOption => (
                quote!(borrowed_option),
                quote!(#private::lend_option::<#helper, #position>(&#local)),
            ),
        };
        reads.push(quote!(#decoder.#read::<#helper, #position>()?));
        locals.push(local);
        passed.push(argument);
    }
    quote! {
        fn run(
            #codec: #private::CodecId,
            #bytes: &[::core::primitive::u8],
            #buffer: &mut #private::Bytes,
        ) -> #private::Ran {
            #private::run::<Self>(#codec, #bytes, #buffer, |mut #decoder, #progress| {
                #[allow(unused_variables)]
                let (#(#locals,)*) = (#(#reads,)*);
                #decoder.finish()?;
                #progress.calls();
                ::core::result::Result::Ok(#name(#(#passed),*))
            })
        }
    }
}

fn digest(task: &Task) -> TokenStream {
    let Task { helper, private, function, .. } = task;
    let traces = function.parameters.iter().enumerate().map(|(position, parameter)| {
        let tracer = match Crossing::of(parameter) {
            Crossing::Owned | Crossing::OwnedAndLent => quote!(owned),
            Crossing::Borrowed | Crossing::BorrowedOption => quote!(borrowed),
        };
        quote!(shapes.#tracer::<#helper, #position>();)
    });
    quote! {
        fn digest() -> ::core::primitive::u64 {
            static DIGEST: ::std::sync::OnceLock<::core::primitive::u64> =
                ::std::sync::OnceLock::new();
            *DIGEST.get_or_init(|| {
                #private::digest(<Self as #private::ProcessTask>::ENTRY.signature, |shapes| {
                    #(#traces)*
                    (<Self as #private::ProcessTask>::returns().trace)(shapes);
                })
            })
        }
    }
}

/// How an argument is encoded and held.
#[derive(Clone, Copy)]
enum Crossing {
    /// As a value.
    Owned,
    /// As a value that the worker owns and lends to the function.
    OwnedAndLent,
    /// From a reference; lent out of the received bytes.
    Borrowed,
    BorrowedOption,
}

impl Crossing {
    fn of(parameter: &Parameter) -> Self {
        match &parameter.passing {
            Passing::Owned => Self::Owned,
            Passing::Borrowed(target) if is_unsized(target) => Self::Borrowed,
            // Not `Borrowed`, although that would do: where a type can't cross, rustc says it less often.
            Passing::Borrowed(_) => Self::OwnedAndLent,
            Passing::BorrowedOption(_) => Self::BorrowedOption,
        }
    }
}

/// Whether a type looks like one of those that have no size.
pub(crate) fn is_unsized(target: &Type) -> bool {
    match bare(target) {
        Type::Slice(_) => true,
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == "str" || last.ident == "Path"),
        _ => false,
    }
}

fn is_byte_slice(target: &Type) -> bool {
    match bare(target) {
        Type::Slice(slice) => match bare(&slice.elem) {
            Type::Path(path) => path.path.is_ident("u8"),
            _ => false,
        },
        _ => false,
    }
}
