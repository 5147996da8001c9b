//! The attributes of [`pangea-guest`](https://docs.rs/pangea-guest), which re-exports and explains them.
//!
//! **Job.** Leave the function as it is and put beside it what the host calls. Without any parser of Rust: all that is
//! needed of a function is its name.
//!
//! **Not here**: what the exports do; that is `pangea_guest::abi`.

use proc_macro::{Delimiter, TokenStream, TokenTree};

/// What a function becomes.
#[derive(Clone, Copy)]
enum Entry {
    Task,
    Split,
    Execute,
    Merge,
}

/// Makes a function the module's task: it gets the input and returns the output.
///
/// With `#[task(log)]` the module imports `log`, and a panic or an `Err` leaves its message there.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(Entry::Task, options, item)
}

/// Makes a function the module's plugin: it gets an event, and what it returns, if it is not empty, answers an ask.
///
/// With `#[plugin(log)]` the module imports `log`, and a panic or an `Err` leaves its message there.
#[proc_macro_attribute]
pub fn plugin(options: TokenStream, item: TokenStream) -> TokenStream {
    // To the host a call is a call.
    expand(Entry::Task, options, item)
}

/// Makes a function cut the input of a job into chunks. Beside an `#[execute]`, in the same scope.
#[proc_macro_attribute]
pub fn split(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(Entry::Split, options, item)
}

/// Makes a function compute the result of one chunk: what every job has.
///
/// With `#[execute(log)]` the module imports `log`, and a panic or an `Err` of any of the job's functions leaves its
/// message there.
#[proc_macro_attribute]
pub fn execute(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(Entry::Execute, options, item)
}

/// Makes a function join the results of all chunks. Beside an `#[execute]`, in the same scope.
#[proc_macro_attribute]
pub fn merge(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(Entry::Merge, options, item)
}

fn expand(entry: Entry, options: TokenStream, item: TokenStream) -> TokenStream {
    match beside(entry, &options.to_string(), item.clone()) {
        // The function comes first, so that the compiler's messages about it are about it.
        Ok(beside) => item.into_iter().chain(beside).collect(),
        Err(message) => {
            let error: TokenStream = format!("::core::compile_error!({message:?});").parse().unwrap_or_default();
            item.into_iter().chain(error).collect()
        }
    }
}

/// What stands beside the function.
fn beside(entry: Entry, options: &str, item: TokenStream) -> Result<TokenStream, String> {
    let has_exports = matches!(entry, Entry::Task | Entry::Execute);
    let fail = match options.trim() {
        "" => "silent",
        "log" if has_exports => "logged",
        "log" => return Err("`log` belongs to #[execute(log)], and then counts for the whole job".to_owned()),
        other => return Err(format!("`{other}` is not known here: there is `log`")),
    };
    let name = name(item)?;
    let code = match entry {
        Entry::Task => exports(&format!("::pangea_guest::abi::task({name}, input, fail)"), fail),
        Entry::Execute => {
            format!(
                "#[doc(hidden)] #[allow(dead_code)] pub struct __Job;
                #[allow(dead_code)] impl __Job {{ {} }}
                #[allow(unused_imports)] const _: () = {{ use ::pangea_guest::abi::Absent as _;
                impl ::pangea_guest::abi::Absent for __Job {{}}
                {} }};",
                function("__execute", "run", &name),
                exports(
                    "::pangea_guest::abi::job(input, fail, __Job::__split, __Job::__execute, __Job::__merge)",
                    fail
                )
            )
        }
        Entry::Split => format!("#[allow(dead_code)] impl __Job {{ {} }}", function("__split", "cut", &name)),
        Entry::Merge => format!("#[allow(dead_code)] impl __Job {{ {} }}", function("__merge", "run", &name)),
    };
    code.parse().map_err(|error| format!("this attribute made invalid Rust: {error}"))
}

/// A function of the job that calls the author's.
fn function(name: &str, how: &str, author: &str) -> String {
    format!(
        "#[doc(hidden)] pub fn {name}(chunk: ::pangea_guest::Chunk<'_>, fail: ::pangea_guest::abi::Fail)
        -> ::pangea_guest::__alloc::vec::Vec<u8> {{ ::pangea_guest::abi::{how}({author}, chunk, fail) }}"
    )
}

/// What the host calls. Natively it is compiled, so that mistakes come up in tests, and is no symbol of the program.
fn exports(call: &str, fail: &str) -> String {
    format!(
        "#[allow(dead_code, unsafe_code)] const _: () = {{
            fn answer(input: &[u8]) -> ::pangea_guest::__alloc::vec::Vec<u8> {{
                let fail: ::pangea_guest::abi::Fail = ::pangea_guest::abi::{fail}();
                {call}
            }}
            #[cfg(target_arch = \"wasm32\")]
            #[unsafe(export_name = \"alloc\")]
            extern \"C\" fn room(len: usize) -> *mut u8 {{ ::pangea_guest::abi::room(len) }}
            // SAFETY: the host calls this as the ABI says: with the place that `alloc` returned, filled.
            #[cfg(target_arch = \"wasm32\")]
            #[unsafe(export_name = \"handle\")]
            unsafe extern \"C\" fn handle(ptr: *mut u8, len: usize) -> u64 {{
                unsafe {{ ::pangea_guest::abi::handle(ptr, len, answer) }}
            }}
            #[cfg(target_arch = \"wasm32\")]
            #[unsafe(export_name = \"abi_version\")]
            extern \"C\" fn abi_version() -> u32 {{ ::pangea_guest::abi::VERSION }}
        }};"
    )
}

/// The name of a function.
fn name(item: TokenStream) -> Result<String, String> {
    let mut tokens = item.into_iter();
    for token in tokens.by_ref() {
        match token {
            TokenTree::Ident(word) if word.to_string() == "fn" => break,
            // `async fn` has nothing to wait for, and a method no object.
            TokenTree::Ident(word) if word.to_string() == "async" => {
                return Err("a task cannot be `async`: there is nothing to wait for in the sandbox".to_owned());
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => break,
            _ => {}
        }
    }
    match tokens.next() {
        Some(TokenTree::Ident(name)) => Ok(name.to_string()),
        _ => Err("this attribute belongs to a function: `fn name(input: &[u8]) -> Vec<u8>`".to_owned()),
    }
}
