//! One function, rewritten: it pays gas for each basic block and for what it moves, keeps within its stack, and shows
//! no bits of a NaN.
//!
//! ```text
//! entry        stack -= frame; if stack < 0 { unreachable }     a leaf only looks and writes nothing
//!              g = gas
//! block        g -= cost; gas = g
//! entry, loop  if g < 0 { out_of_gas(); g = gas }               beside paying for their block
//! after call   stack = own level; g = gas
//! ```
//!
//! `stack` and `gas` are globals, `g` is a local that saves reading one: an interpreter pays for every access. Between two
//! checks each instruction runs at most once, so a guest cannot use much more than it has; that it did is seen at the
//! next check, at a call of the host, and when it traps or ends. It is then out of gas, whatever else happened.

use super::{choice, cost, nan, nan::Float, rewrite::Added, survey};
use std::convert::Infallible;
use wasm_encoder::{
    BlockType, Function, ValType,
    reencode::{Error, Reencode},
};
use wasmparser::{FunctionBody, Operator};

/// Rewrites `body`.
///
/// # Errors
/// Only on what the validator would not have accepted.
pub fn rewrite(
    added: &mut Added,
    known: &survey::Function,
    body: &FunctionBody<'_>,
) -> Result<Function, Error<Infallible>> {
    let plan = plan(known, body)?;
    let mut locals = Vec::new();
    for group in body.get_locals_reader()? {
        let (count, ty) = group?;
        locals.push((count, added.val_type(ty)?));
    }
    let scratch = Scratch::new(known, &plan, &mut locals);
    let mut writer = Writer { added, scratch, function: Function::new(locals) };
    writer.enter(known);
    let mut costs = plan.costs.into_iter();
    writer.pay(costs.next().unwrap_or(0), true);
    let (mut exact, mut plain) = (false, false);
    let mut blocks = Blocks::default();
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let operator = operators.read()?;
        let next = blocks.step(&operator);
        let is_loop = matches!(operator, Operator::Loop { .. });
        let was_exact = std::mem::replace(&mut exact, nan::is_exact(&operator));
        let was_plain = std::mem::replace(&mut plain, choice::is_plain(&operator));
        if choice::chooses(&operator) && !was_plain {
            choice::keep_apart(&mut writer.function);
        }
        writer.operator(operator, was_exact)?;
        if next {
            writer.pay(costs.next().unwrap_or(0), is_loop);
        }
    }
    Ok(writer.function)
}

/// What is to be known before the first instruction is written.
#[derive(Default)]
struct Plan {
    /// Gas of each basic block, in the order in which they begin.
    costs: Vec<u64>,
    floats: [bool; 2],
    grows: bool,
}

fn plan(known: &survey::Function, body: &FunctionBody<'_>) -> Result<Plan, Error<Infallible>> {
    let mut plan = Plan { costs: vec![cost::entry(u64::from(known.declared))], ..Plan::default() };
    let mut blocks = Blocks::default();
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let operator = operators.read()?;
        if let (Some(cost), false) = (plan.costs.last_mut(), blocks.dead()) {
            *cost += cost::of(&operator);
        }
        if let Some(float) = nan::seen_by(&operator) {
            plan.floats[float as usize] = true;
        }
        plan.grows |= matches!(operator, Operator::MemoryGrow { .. } | Operator::TableGrow { .. });
        if blocks.step(&operator) {
            plan.costs.push(0);
        }
    }
    Ok(plan)
}

/// Finds where basic blocks begin.
#[derive(Default)]
struct Blocks {
    open: Vec<Open>,
    dead: bool,
}

/// A block that has not ended.
struct Open {
    /// Branches arrive at its end: it is not a loop, and one was seen.
    joined: bool,
    is_loop: bool,
    /// It cannot be reached at all.
    dead: bool,
}

impl Blocks {
    /// What comes now is never executed.
    fn dead(&self) -> bool {
        self.dead
    }

    /// Whether a basic block begins behind `operator`.
    fn step(&mut self, operator: &Operator<'_>) -> bool {
        match operator {
            Operator::Block { .. } => self.begin(false, false),
            Operator::Loop { .. } => {
                self.begin(false, true);
                return !self.dead;
            }
            // Who does not take the branch of an `if` arrives at its end.
            Operator::If { .. } => {
                self.begin(true, false);
                return !self.dead;
            }
            Operator::Else => {
                self.dead = self.open.last().is_some_and(|open| open.dead);
                return !self.dead;
            }
            Operator::End => {
                let Some(open) = self.open.pop() else { return false };
                let joined = open.joined && !open.dead;
                self.dead = open.dead || (self.dead && !joined);
                return joined;
            }
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth);
                self.dead = true;
            }
            Operator::BrIf { relative_depth } => {
                self.branch(*relative_depth);
                return !self.dead;
            }
            Operator::BrTable { targets } => {
                let targets: Vec<u32> = targets.targets().filter_map(Result::ok).chain([targets.default()]).collect();
                targets.into_iter().for_each(|depth| self.branch(depth));
                self.dead = true;
            }
            Operator::Return | Operator::Unreachable => self.dead = true,
            _ => {}
        }
        false
    }

    fn begin(&mut self, joined: bool, is_loop: bool) {
        self.open.push(Open { joined, is_loop, dead: self.dead });
    }

    fn branch(&mut self, depth: u32) {
        if self.dead {
            return;
        }
        // The label of the function itself is not in the list: behind its end there is nothing.
        if let Some(open) = self.open.iter_mut().rev().nth(depth as usize) {
            open.joined |= !open.is_loop;
        }
    }
}

/// Locals that the pass adds.
#[derive(Clone, Copy)]
struct Scratch {
    gas: u32,
    stack: u32,
    amount: u32,
    floats: [u32; 2],
}

impl Scratch {
    fn new(known: &survey::Function, plan: &Plan, locals: &mut Vec<(u32, ValType)>) -> Self {
        let mut next = known.locals;
        let mut add = |wanted: bool, ty: ValType| {
            if wanted {
                locals.push((1, ty));
                next += 1;
            }
            next - u32::from(wanted)
        };
        let gas = add(true, ValType::I64);
        let stack = add(known.calls, ValType::I32);
        let amount = add(plan.grows, ValType::I32);
        let f32 = add(plan.floats[Float::F32 as usize], ValType::F32);
        let f64 = add(plan.floats[Float::F64 as usize], ValType::F64);
        Self { gas, stack, amount, floats: [f32, f64] }
    }
}

struct Writer<'a> {
    added: &'a mut Added,
    scratch: Scratch,
    function: Function,
}

impl Writer<'_> {
    fn enter(&mut self, known: &survey::Function) {
        let (stack, level, frame) = (self.added.stack, self.scratch.stack, known.frame.cast_signed());
        let mut code = self.function.instructions();
        code.global_get(stack).i32_const(frame);
        if known.calls {
            code.i32_sub().local_tee(level).i32_const(0);
        }
        code.i32_lt_s().if_(BlockType::Empty).i32_const(-1).global_set(stack).unreachable().end();
        if known.calls {
            code.local_get(level).global_set(stack);
        }
        code.global_get(self.added.gas).local_set(self.scratch.gas);
    }

    /// Pays for a basic block. `check`: and looks whether there was enough. A loop whose first block is free begins
    /// with another loop, or ends at once: it needs no check of its own.
    fn pay(&mut self, cost: u64, check: bool) {
        if cost == 0 {
            return;
        }
        let (gas, local) = (self.added.gas, self.scratch.gas);
        let mut code = self.function.instructions();
        code.local_get(local).i64_const(cost.cast_signed()).i64_sub().local_tee(local).global_set(gas);
        if check {
            code.local_get(local).i64_const(0).i64_lt_s().if_(BlockType::Empty);
            code.call(self.added.out_of_gas).global_get(gas).local_set(local).end();
        }
    }

    /// `exact`: the instruction before left a float of known bits.
    fn operator(&mut self, operator: Operator<'_>, exact: bool) -> Result<(), Error<Infallible>> {
        if let Some(float) = nan::seen_by(&operator).filter(|_| !exact) {
            nan::canonicalise(&mut self.function, float, self.scratch.floats[float as usize]);
        }
        let grown = grown_bytes(&operator);
        let moves = self.charge_amount(&operator);
        let calls = matches!(operator, Operator::Call { .. } | Operator::CallIndirect { .. });
        self.function.instruction(&self.added.instruction(operator)?);
        let mut code = self.function.instructions();
        if let Some(bytes) = grown {
            code.local_get(self.scratch.amount).i64_const(bytes).call(self.added.charge_grown);
        }
        if calls {
            code.local_get(self.scratch.stack).global_set(self.added.stack);
        }
        if calls || moves || grown.is_some() {
            code.global_get(self.added.gas).local_set(self.scratch.gas);
        }
        Ok(())
    }

    /// Pays for the amount on top of the stack, or remembers it until it is known whether it is granted. Whether it paid.
    fn charge_amount(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        let bytes = match operator {
            O::MemoryCopy { .. } | O::MemoryFill { .. } | O::MemoryInit { .. } => 1,
            O::TableCopy { .. } | O::TableFill { .. } | O::TableInit { .. } => cost::ELEMENT_BYTES,
            O::MemoryGrow { .. } | O::TableGrow { .. } => {
                self.function.instructions().local_tee(self.scratch.amount);
                return false;
            }
            _ => return false,
        };
        self.function.instructions().i64_const(bytes.cast_signed()).call(self.added.charge);
        true
    }
}

fn grown_bytes(operator: &Operator<'_>) -> Option<i64> {
    match operator {
        Operator::MemoryGrow { .. } => Some(cost::PAGE_BYTES.cast_signed()),
        Operator::TableGrow { .. } => Some(cost::ELEMENT_BYTES.cast_signed()),
        _ => None,
    }
}

/// The function [`Added::charge`].
pub fn charge(added: &Added) -> Function {
    let (amount, bytes, gas) = (0, 1, 2);
    let mut function = Function::new([(1, ValType::I64)]);
    let mut code = function.instructions();
    code.global_get(added.gas).local_get(amount).i64_extend_i32_u().local_get(bytes).i64_mul();
    let per_gas = cost::BYTES_PER_GAS.cast_signed();
    code.i64_const(per_gas - 1).i64_add().i64_const(per_gas).i64_div_u().i64_sub().local_tee(gas).global_set(added.gas);
    code.local_get(gas).i64_const(0).i64_lt_s().if_(BlockType::Empty).call(added.out_of_gas).end();
    code.local_get(amount).end();
    function
}

/// The function [`Added::charge_grown`].
pub fn charge_grown(added: &Added) -> Function {
    let (grown, amount, bytes) = (0, 1, 2);
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.local_get(grown).i32_const(-1).i32_ne().if_(BlockType::Empty);
    code.local_get(amount).local_get(bytes).call(added.charge).drop().end();
    code.local_get(grown).end();
    function
}
