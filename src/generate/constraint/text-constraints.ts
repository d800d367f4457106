/** Constraints as users write them, over the tokens of one tokenizer. */
import { ConfigError } from '../../core/errors.ts';
import { type Tokenizer, tokenBytes } from '../../tokenizer/index.ts';
import { choiceConstraint } from './choice.ts';
import type { Constraint, ConstraintSpec } from './constraint.ts';
import { jsonObjectConstraint } from './json-object.ts';
import { schemaRegex } from './json-schema.ts';
import { regexConstraint } from './regex.ts';
import { type TokenTrie, tokenTrie } from './token-trie.ts';

/** Constraints made before are kept, this many. */
const kept = 32;

/**
 * Makes constraints for a tokenizer. Its vocabulary is read at the first that needs it.
 *
 * @returns a function of a spec: a constraint, or undefined when the spec is empty
 * @throws ConfigError (the function) for two constraints at a time, and for what the constraint itself refuses
 */
export function textConstraints(tokenizer: Tokenizer): (spec: ConstraintSpec) => Constraint | undefined {
  let trie: TokenTrie | undefined;
  const made = new Map<string, Constraint>();
  const readTrie = (): TokenTrie => {
    trie ??= tokenTrie(Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenBytes(tokenizer, id)));
    return trie;
  };
  function create({ choice, regex, jsonSchema, jsonObject }: ConstraintSpec): Constraint {
    if (choice !== undefined)
      return choiceConstraint(choice.map((text) => tokenizer.encode(text, { continuation: true })));
    if (regex !== undefined) return regexConstraint(regex, readTrie());
    if (jsonObject === true) return jsonObjectConstraint(readTrie());
    return regexConstraint(schemaRegex(jsonSchema), readTrie(), 'JSON schema');
  }
  return (spec) => {
    const given = Object.entries(spec).filter(([, value]) => value !== undefined);
    if (given.length === 0) return undefined;
    if (given.length > 1) {
      throw new ConfigError({
        where: 'constraint',
        expected: 'one of choice, regex, jsonSchema and jsonObject',
        received: given.map(([name]) => name).join(' and '),
        fix: 'Leave the others out',
      });
    }
    const key = JSON.stringify(spec);
    const constraint = made.get(key) ?? { ...create(spec), spec };
    // The one used last is the last to go.
    made.delete(key);
    made.set(key, constraint);
    if (made.size > kept) made.delete(made.keys().next().value!);
    return constraint;
  };
}
