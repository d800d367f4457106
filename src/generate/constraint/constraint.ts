/** Constraints: what a completion may be, token by token. */

/** A set of completions. Immutable, and shared by all rows that keep to it. */
export interface Constraint {
  readonly start: ConstraintState;
  /** What it was made of, to ask others to keep to it. */
  readonly spec?: ConstraintSpec;
}

/** A constraint as users write it: at most one of these. */
export interface ConstraintSpec {
  /** Texts, one of which the completion is. */
  readonly choice?: readonly string[] | undefined;
  /** Regular expression of the whole completion. */
  readonly regex?: string | undefined;
  /** JSON schema of the completion. */
  readonly jsonSchema?: unknown;
  /** The completion is any JSON object. */
  readonly jsonObject?: true | undefined;
}

/** A beginning of a completion. */
export interface ConstraintState {
  /** Tokens that lead to a completion of the set, in no particular order. */
  readonly allowed: Uint32Array;
  /** What has been written is a completion of the set. Where nothing is `allowed` besides, it ends there. */
  readonly mayEnd: boolean;
  /** After a token that is `allowed`. */
  next(token: number): ConstraintState;
}

/** Scores [V] with −Infinity for every token that may not follow. Stop tokens may where the completion may end. */
export function keepAllowed(
  scores: Float64Array,
  { allowed, mayEnd }: ConstraintState,
  stopIds: ReadonlySet<number>,
): Float64Array {
  const kept = new Float64Array(scores.length).fill(Number.NEGATIVE_INFINITY);
  for (const token of allowed) if (!stopIds.has(token)) kept[token] = scores[token]!;
  if (mayEnd) for (const token of stopIds) kept[token] = scores[token]!;
  return kept;
}
