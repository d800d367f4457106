/** Completions whose bytes a machine lets through, in whatever tokens. */
import type { Constraint, ConstraintState } from './constraint.ts';
import type { TokenTrie, TrieNode } from './token-trie.ts';

/** A deterministic machine over bytes. Its states are values that never change. */
export interface ByteMachine<S> {
  readonly start: S;
  /** The state after a byte that may follow. */
  step(state: S, byte: number): S | undefined;
  /** Whether what leads to a state is a match. */
  accepts(state: S): boolean;
  /** Equal for equal states. */
  keyOf(state: S): number | string;
}

/** Tokens kept over all states of a constraint, 4 bytes each: beyond, states are looked at anew. */
const keptTokens = 2 ** 24;

/**
 * The constraint of a machine. Which tokens may follow is found at the first visit of a state, by one walk through the trie,
 * and kept for the states used last.
 *
 * @param isLive whether tokens lead from a state to a match; every state when left out
 * @param limit tokens kept over all states
 */
export function machineConstraint<S>(
  machine: ByteMachine<S>,
  trie: TokenTrie,
  isLive: (state: S) => boolean = () => true,
  limit = keptTokens,
): Constraint {
  const states = new Map<number | string, { readonly state: ConstraintState; cost: number }>();
  let total = 0;
  function stateOf(at: S): ConstraintState {
    const key = machine.keyOf(at);
    const entry = states.get(key) ?? { state: create(at, key), cost: 0 };
    // The one used last is the last to go.
    states.delete(key);
    states.set(key, entry);
    return entry.state;
  }
  function keep(key: number | string, tokens: number): void {
    const entry = states.get(key);
    if (entry === undefined) return;
    // A state without tokens takes memory, too.
    entry.cost = tokens + 64;
    total += entry.cost;
    for (const [oldest, { cost }] of states) {
      if (total <= limit || oldest === key) return;
      states.delete(oldest);
      total -= cost;
    }
  }
  function create(at: S, key: number | string): ConstraintState {
    let allowed: Uint32Array | undefined;
    return {
      mayEnd: machine.accepts(at),
      get allowed() {
        if (allowed === undefined) {
          allowed = Uint32Array.from(
            transitions(machine, trie, at).flatMap(({ tokens, to }) => (isLive(to) ? tokens : [])),
          );
          keep(key, allowed.length);
        }
        return allowed;
      },
      next(token) {
        let to = at;
        for (const byte of trie.bytes[token]!) to = machine.step(to, byte)!;
        return stateOf(to);
      },
    };
  }
  return { start: stateOf(machine.start) };
}

/** Tokens that the machine lets through from a state, and where they lead. */
export function transitions<S>(
  machine: ByteMachine<S>,
  { root }: TokenTrie,
  from: S,
): { readonly tokens: readonly number[]; readonly to: S }[] {
  const found: { readonly tokens: readonly number[]; readonly to: S }[] = [];
  const stack: [TrieNode, S][] = [[root, from]];
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const [node, state] = top;
    if (node.tokens.length > 0) found.push({ tokens: node.tokens, to: state });
    for (const [byte, child] of node.children) {
      const to = machine.step(state, byte);
      if (to !== undefined) stack.push([child, to]);
    }
  }
  return found;
}
