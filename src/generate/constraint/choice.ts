/** One of several continuations. */
import { ConfigError } from '../../core/errors.ts';
import type { Constraint, ConstraintState } from './constraint.ts';

interface Node {
  readonly children: Map<number, Node>;
  ends: boolean;
}

/**
 * Completions that are one of the given ones, token by token: a trie of their ids.
 *
 * @throws ConfigError for no choices, or an empty one
 * @example choiceConstraint([[12, 7], [31]])
 */
export function choiceConstraint(choices: readonly (readonly number[])[]): Constraint {
  if (choices.length === 0 || choices.some(({ length }) => length === 0)) {
    throw new ConfigError({
      where: 'choices',
      expected: 'at least one, each of at least one token',
      received: choices.length === 0 ? 'none' : 'an empty one',
      fix: 'Leave the constraint out to allow everything',
    });
  }
  const root: Node = { children: new Map(), ends: false };
  for (const choice of choices) {
    let node = root;
    for (const token of choice) {
      const next = node.children.get(token) ?? { children: new Map(), ends: false };
      node.children.set(token, next);
      node = next;
    }
    node.ends = true;
  }
  const stateOf = ({ children, ends }: Node): ConstraintState => {
    const states = new Map(Array.from(children, ([token, child]) => [token, stateOf(child)]));
    return {
      allowed: Uint32Array.from(children.keys()),
      mayEnd: ends,
      next: (token) => states.get(token)!,
    };
  };
  return { start: stateOf(root) };
}
