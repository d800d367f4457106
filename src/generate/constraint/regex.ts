/** Completions whose text matches a regular expression. */
import { ConfigError } from '../../core/errors.ts';
import { type ByteAutomaton, regexAutomaton } from './byte-automaton.ts';
import { type ByteMachine, machineConstraint, transitions } from './byte-machine.ts';
import type { Constraint } from './constraint.ts';
import type { TokenTrie } from './token-trie.ts';

/**
 * Completions whose bytes match from beginning to end, in whatever tokens.
 *
 * @throws ConfigError as `regexAutomaton`, and when no sequence of tokens matches
 * @example regexConstraint('-?[0-9]+', tokenTrie(bytes))
 */
export function regexConstraint(source: string, trie: TokenTrie, where = 'regex'): Constraint {
  return automatonConstraint(regexAutomaton(source, where), trie, where);
}

function automatonConstraint(automaton: ByteAutomaton, trie: TokenTrie, where: string): Constraint {
  const machine: ByteMachine<number> = {
    start: 0,
    step(state, byte) {
      const to = automaton.next[state]![byte]!;
      return to < 0 ? undefined : to;
    },
    accepts: (state) => automaton.accepts[state]!,
    keyOf: (state) => state,
  };
  if (trie.complete) return machineConstraint(machine, trie);
  const live = liveByTokens(automaton, machine, trie);
  if (!live[0]) {
    throw new ConfigError({
      where,
      expected: 'texts that the tokenizer can write',
      received: 'a constraint none of whose matches consists of its tokens',
      fix: 'Use characters of its vocabulary',
    });
  }
  return machineConstraint(machine, trie, (state) => live[state]!);
}

/** States from which whole tokens lead to a match: without tokens for all bytes these are fewer than bytes lead from. */
function liveByTokens(automaton: ByteAutomaton, machine: ByteMachine<number>, trie: TokenTrie): boolean[] {
  const before: Set<number>[] = automaton.next.map(() => new Set());
  const seen = new Set([0]);
  for (const state of seen) {
    for (const { to } of transitions(machine, trie, state)) {
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
