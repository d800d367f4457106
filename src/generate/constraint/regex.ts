/** Completions whose text matches a regular expression. */
import { ConfigError } from '../../core/errors.ts';
import { type ByteAutomaton, regexAutomaton } from './byte-automaton.ts';
import type { Constraint, ConstraintState } from './constraint.ts';
import type { TokenTrie, TrieNode } from './token-trie.ts';

/**
 * Completions whose bytes match from beginning to end, in whatever tokens. Which tokens may follow is found at the first
 * visit of a state and kept.
 *
 * @throws ConfigError as `regexAutomaton`, and when no sequence of tokens matches
 * @example regexConstraint('-?[0-9]+', tokenTrie(bytes))
 */
export function regexConstraint(source: string, trie: TokenTrie, where = 'regex'): Constraint {
  return automatonConstraint(regexAutomaton(source, where), trie, where);
}

function automatonConstraint(automaton: ByteAutomaton, trie: TokenTrie, where: string): Constraint {
  const live = trie.complete ? undefined : liveByTokens(automaton, trie);
  if (live !== undefined && !live[0]) {
    throw new ConfigError({
      where,
      expected: 'texts that the tokenizer can write',
      received: 'a constraint none of whose matches consists of its tokens',
      fix: 'Use characters of its vocabulary',
    });
  }
  const states = new Map<number, ConstraintState>();
  function stateOf(number: number): ConstraintState {
    const known = states.get(number);
    if (known !== undefined) return known;
    let allowed: Uint32Array | undefined;
    const state: ConstraintState = {
      mayEnd: automaton.accepts[number]!,
      get allowed() {
        allowed ??= Uint32Array.from(
          transitions(automaton, trie, number).flatMap(({ tokens, to }) =>
            live === undefined || live[to] ? tokens : [],
          ),
        );
        return allowed;
      },
      next(token) {
        let at = number;
        for (const byte of trie.bytes[token]!) at = automaton.next[at]![byte]!;
        return stateOf(at);
      },
    };
    states.set(number, state);
    return state;
  }
  return { start: stateOf(0) };
}

/** Tokens that the automaton lets through from a state, and where they lead. */
function transitions(
  { next }: ByteAutomaton,
  { root }: TokenTrie,
  from: number,
): { readonly tokens: readonly number[]; readonly to: number }[] {
  const found: { readonly tokens: readonly number[]; readonly to: number }[] = [];
  const stack: [TrieNode, number][] = [[root, from]];
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const [node, state] = top;
    if (node.tokens.length > 0) found.push({ tokens: node.tokens, to: state });
    const table = next[state]!;
    for (const [byte, child] of node.children) {
      const to = table[byte]!;
      if (to >= 0) stack.push([child, to]);
    }
  }
  return found;
}

/** States from which whole tokens lead to a match: without tokens for all bytes these are fewer than bytes lead from. */
function liveByTokens(automaton: ByteAutomaton, trie: TokenTrie): boolean[] {
  const before: Set<number>[] = automaton.next.map(() => new Set());
  const seen = new Set([0]);
  for (const state of seen) {
    for (const { to } of transitions(automaton, trie, state)) {
      before[to]!.add(state);
      seen.add(to);
    }
  }
  const live = automaton.accepts.map((accepts, state) => accepts && seen.has(state));
  const queue = [...live.keys()].filter((state) => live[state]);
  for (let state = queue.pop(); state !== undefined; state = queue.pop()) {
    for (const earlier of before[state]!) {
      if (live[earlier]) continue;
      live[earlier] = true;
      queue.push(earlier);
    }
  }
  return live;
}
