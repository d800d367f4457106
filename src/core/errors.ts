/** What an error says: where it happened, what was expected, what came, and what to do. */
export interface ErrorFields {
  /** The function, file, row or option in which the problem was found. */
  readonly where: string;
  readonly expected: string;
  readonly received: string;
  /** One sentence that starts with a verb: what the reader should do. */
  readonly fix?: string;
  readonly cause?: unknown;
}

/** Base of every error heed throws on purpose. Message: `<where>: expected <expected>, received <received>. <fix>.` */
export class HeedError extends Error {
  readonly where: string;
  readonly expected: string;
  readonly received: string;
  readonly fix: string | undefined;

  constructor(fields: ErrorFields) {
    const fix = fields.fix === undefined ? '' : ` ${fields.fix}${/[.?!]$/.test(fields.fix) ? '' : '.'}`;
    super(
      `${fields.where}: expected ${fields.expected}, received ${fields.received}.${fix}`,
      fields.cause === undefined ? undefined : { cause: fields.cause },
    );
    this.name = new.target.name;
    this.where = fields.where;
    this.expected = fields.expected;
    this.received = fields.received;
    this.fix = fields.fix;
  }
}

/** A tensor has the wrong shape or dtype. */
export class ShapeError extends HeedError {}
/** A configuration value or key is wrong. */
export class ConfigError extends HeedError {}
/** A file, a row or a text of a data set is wrong. */
export class DataError extends HeedError {}
/** A model folder, checkpoint or run folder is wrong. */
export class CheckpointError extends HeedError {}
/** The engine could not load, compile or run a program. */
export class EngineError extends HeedError {}
/** An engine, a gradient rule or a model lacks an operation. */
export class UnsupportedOpError extends HeedError {}
/** A number is not finite where it must be. */
export class NumericError extends HeedError {}
/** A guard could not decide. */
export class GuardError extends HeedError {}
