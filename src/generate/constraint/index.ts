export * from './choice.ts';
export type { Constraint, ConstraintSpec, ConstraintState } from './constraint.ts';
export { jsonObjectConstraint } from './json-object.ts';
export * from './json-schema.ts';
export * from './regex.ts';
export * from './text-constraints.ts';
export * from './token-trie.ts';
