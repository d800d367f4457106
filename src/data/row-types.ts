/** Rows in the column types of TRL, standard (strings) and conversational (lists of messages). */
import { DataError } from '../core/errors.ts';
import type { Row } from './row.ts';
import { splitCommonMessages, splitCommonText } from './split-prompt.ts';

/** One turn of a conversation. Further keys (`name`, `tool_calls`, `reasoning_content`, …) reach the chat template. */
export interface Message {
  readonly role: string;
  /** Text, or parts such as `{type: 'text', text}`; missing when the turn is only tool calls. */
  readonly content?: string | readonly unknown[];
  readonly [key: string]: unknown;
}

/** A string, or messages. The columns of a row are of the same kind. */
export type Content = string | readonly Message[];

export interface LanguageModelingRow {
  readonly where: string;
  readonly content: Content;
  /** Tool definitions for the chat template. */
  readonly tools?: readonly unknown[];
}

export interface PromptRow {
  readonly where: string;
  readonly prompt: Content;
  readonly tools?: readonly unknown[];
}

export interface PromptCompletionRow extends PromptRow {
  readonly completion: Content;
}

export interface PreferenceRow extends PromptRow {
  readonly chosen: Content;
  readonly rejected: Content;
}

export interface UnpairedRow extends PromptCompletionRow {
  /** Whether the completion is desirable. */
  readonly label: boolean;
}

/** A completion in steps, each right or wrong. Standard only. */
export interface StepwiseRow {
  readonly where: string;
  readonly prompt: string;
  readonly completions: readonly string[];
  /** One for each step. */
  readonly labels: readonly boolean[];
}

export type RowType =
  | 'language modeling'
  | 'prompt-completion'
  | 'preference'
  | 'unpaired preference'
  | 'stepwise supervision'
  | 'prompt-only';

const columnsOfType: Readonly<Record<RowType, string>> = {
  'language modeling': '`text` or `messages`',
  'prompt-completion': '`prompt` and `completion`',
  preference: '`chosen` and `rejected`, and `prompt` unless both begin with it',
  'unpaired preference': '`prompt`, `completion` and `label` (true or false)',
  'stepwise supervision': '`prompt`, `completions` (a list of steps) and `labels` (true or false for each)',
  'prompt-only': '`prompt`',
};

/** The type that the columns of a row spell, the richest that fits; undefined when none does. */
export function detectRowType({ columns }: Row): RowType | undefined {
  const has = (name: string): boolean => columns[name] !== undefined;
  if (has('chosen') && has('rejected')) return 'preference';
  if (has('prompt') && has('completion')) return has('label') ? 'unpaired preference' : 'prompt-completion';
  if (has('prompt') && has('completions') && has('labels')) return 'stepwise supervision';
  if (has('messages') || has('text')) return 'language modeling';
  return has('prompt') ? 'prompt-only' : undefined;
}

/** Reads a row as one of a type, without a tokenizer. @throws DataError naming the row and what is missing, wrong or empty */
export function parseRow(row: Row, type: RowType): LanguageModelingRow | PromptRow | StepwiseRow {
  switch (type) {
    case 'language modeling':
      return parseLanguageModeling(row);
    case 'prompt-completion':
      return parsePromptCompletion(row);
    case 'preference':
      return parsePreference(row);
    case 'unpaired preference':
      return parseUnpaired(row);
    case 'stepwise supervision':
      return parseStepwise(row);
    case 'prompt-only':
      return parsePromptOnly(row);
  }
}

/**
 * Reads what supervised training learns from: `text`, `messages`, or `prompt` and `completion`.
 *
 * @throws DataError naming the row and what is missing, wrong or empty
 */
export function parseSupervised(row: Row): LanguageModelingRow | PromptCompletionRow {
  const { messages, text, completion } = row.columns;
  if (messages !== undefined || text !== undefined) return parseLanguageModeling(row);
  if (completion !== undefined) return parsePromptCompletion(row);
  throw new DataError({
    where: row.where,
    expected: 'a column `completion` beside `prompt`, or `messages`, or `text`',
    received: describeColumns(row),
    fix: 'Supervised rows hold what is to be learned; rename the column that does, or use a method for such rows',
  });
}

/** Reads `messages` or `text`. @throws DataError naming the row and what is missing or wrong */
export function parseLanguageModeling(row: Row): LanguageModelingRow {
  const { where, columns } = row;
  if (columns.messages !== undefined) {
    const messages = readContent(row, 'messages', 'language modeling');
    if (typeof messages === 'string') throw wrongColumn(row, 'messages', 'a list of messages', messages);
    if (!messages.some((message) => message.role === 'assistant')) {
      throw wrongColumn(row, 'messages', 'at least one message of the role assistant', rolesOf(messages));
    }
    return { where, content: messages, ...readTools(row) };
  }
  const text = readContent(row, 'text', 'language modeling');
  if (typeof text !== 'string') throw wrongColumn(row, 'text', 'a string', text);
  if (text.trim() === '') throw wrongColumn(row, 'text', 'a text that is not empty', text, 'Remove the row');
  return { where, content: text };
}

/** Reads `prompt`. @throws DataError naming the row and what is missing or wrong */
export function parsePromptOnly(row: Row): PromptRow {
  return { where: row.where, prompt: readPrompt(row, 'prompt-only'), ...readTools(row) };
}

/** Reads `prompt` and `completion`. @throws DataError naming the row and what is missing, wrong or empty */
export function parsePromptCompletion(row: Row): PromptCompletionRow {
  return readPromptCompletion(row, 'prompt-completion');
}

/** Reads `prompt`, `completion` and `label`. @throws DataError naming the row and what is missing, wrong or empty */
export function parseUnpaired(row: Row): UnpairedRow {
  const { label } = row.columns;
  if (label === undefined) throw missingColumn(row, 'label', 'unpaired preference');
  if (typeof label !== 'boolean') throw wrongColumn(row, 'label', 'true or false', label);
  return { ...readPromptCompletion(row, 'unpaired preference'), label };
}

/** Reads `prompt`, `completions` and `labels`. @throws DataError naming the row and what is missing, wrong or empty */
export function parseStepwise(row: Row): StepwiseRow {
  const prompt = readContent(row, 'prompt', 'stepwise supervision');
  if (typeof prompt !== 'string') throw wrongColumn(row, 'prompt', 'a string', prompt);
  const { completions, labels } = row.columns;
  if (completions === undefined) throw missingColumn(row, 'completions', 'stepwise supervision');
  if (labels === undefined) throw missingColumn(row, 'labels', 'stepwise supervision');
  if (!Array.isArray(completions) || completions.length === 0) {
    throw wrongColumn(row, 'completions', 'a list of at least one step', completions);
  }
  for (const [index, step] of completions.entries()) {
    if (typeof step !== 'string' || step.trim() === '') {
      throw wrongColumn(row, `completions[${index}]`, 'a text that is not empty', step);
    }
  }
  if (!Array.isArray(labels) || labels.length !== completions.length) {
    throw wrongColumn(row, 'labels', `a list of ${completions.length}, one for each step`, labels);
  }
  for (const [index, label] of labels.entries()) {
    if (typeof label !== 'boolean') throw wrongColumn(row, `labels[${index}]`, 'true or false', label);
  }
  return { where: row.where, prompt, completions, labels };
}

/**
 * Reads `chosen`, `rejected` and `prompt`. Without `prompt`, it is what both sides begin with: whole messages, or text up
 * to the last white space (TRL may cut inside a word). Messages of an explicit prompt that both sides repeat are removed.
 *
 * @throws DataError naming the row: a column is missing, wrong or empty, or both sides are equal
 */
export function parsePreference(row: Row): PreferenceRow {
  const chosen = readContent(row, 'chosen', 'preference');
  const rejected = readContent(row, 'rejected', 'preference');
  checkSameKind(row, ['chosen', chosen], ['rejected', rejected]);
  if (isEqual(chosen, rejected)) {
    throw new DataError({
      where: row.where,
      expected: '`chosen` and `rejected` to differ',
      received: 'equal completions',
      fix: 'Remove the row: it states no preference',
    });
  }
  const sides = splitSides(row, chosen, rejected);
  checkCompletion(row, 'chosen', sides.chosen);
  checkCompletion(row, 'rejected', sides.rejected);
  return { where: row.where, ...sides, ...readTools(row) };
}

function splitSides(
  row: Row,
  chosen: Content,
  rejected: Content,
): Pick<PreferenceRow, 'prompt' | 'chosen' | 'rejected'> {
  if (row.columns.prompt === undefined) {
    return typeof chosen === 'string'
      ? splitCommonText(chosen, rejected as string)
      : splitCommonMessages(chosen, rejected as readonly Message[]);
  }
  const prompt = readPrompt(row, 'preference');
  checkSameKind(row, ['prompt', prompt], ['chosen', chosen]);
  if (typeof prompt === 'string') return { prompt, chosen, rejected };
  const size = prompt.length;
  const repeated = [chosen, rejected].every((side) => isEqual(side.slice(0, size), prompt));
  return repeated
    ? { prompt, chosen: chosen.slice(size), rejected: rejected.slice(size) }
    : { prompt, chosen, rejected };
}

const isEqual = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

function readPromptCompletion(row: Row, type: RowType): PromptCompletionRow {
  const prompt = readPrompt(row, type);
  const completion = readContent(row, 'completion', type);
  checkSameKind(row, ['prompt', prompt], ['completion', completion]);
  checkCompletion(row, 'completion', completion);
  return { where: row.where, prompt, completion, ...readTools(row) };
}

function readPrompt(row: Row, type: RowType): Content {
  const prompt = readContent(row, 'prompt', type);
  if (typeof prompt !== 'string' && prompt.length === 0) {
    throw wrongColumn(row, 'prompt', 'at least one message', prompt);
  }
  return prompt;
}

function readContent(row: Row, column: string, type: RowType): Content {
  const value = row.columns[column];
  if (value === undefined) throw missingColumn(row, column, type);
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) throw wrongColumn(row, column, 'a string or a list of messages', value);
  for (const [index, message] of value.entries()) {
    const { role, content, tool_calls } = (message ?? {}) as Message;
    const hasContent = typeof content === 'string' || Array.isArray(content);
    if (typeof role !== 'string' || !(hasContent || (content === undefined && tool_calls !== undefined))) {
      throw wrongColumn(row, `${column}[${index}]`, 'a message {role, content}', message);
    }
  }
  return value as readonly Message[];
}

function readTools(row: Row): { readonly tools?: readonly unknown[] } {
  const { tools } = row.columns;
  if (tools === undefined) return {};
  // Older versions of `datasets` store tools as JSON text.
  let list: unknown = tools;
  if (typeof tools === 'string') {
    try {
      list = JSON.parse(tools);
    } catch {
      list = undefined;
    }
  }
  if (!Array.isArray(list)) throw wrongColumn(row, 'tools', 'a list, or JSON text of one', tools);
  return { tools: list };
}

function checkSameKind(
  row: Row,
  [name, a]: readonly [string, Content],
  [otherName, b]: readonly [string, Content],
): void {
  if ((typeof a === 'string') === (typeof b === 'string')) return;
  const kind = (content: Content): string => (typeof content === 'string' ? 'a string' : 'messages');
  throw new DataError({
    where: row.where,
    expected: `\`${name}\` and \`${otherName}\` to be both strings or both lists of messages`,
    received: `${kind(a)} and ${kind(b)}`,
    fix: 'Write both as lists of {role, content}',
  });
}

function checkCompletion(row: Row, column: string, completion: Content): void {
  const expected = 'a completion that is not empty';
  const fix = 'Remove the row or fill the completion in';
  if (typeof completion === 'string') {
    if (completion.trim() === '') throw wrongColumn(row, column, expected, completion, fix);
    return;
  }
  if (completion.length === 0) throw wrongColumn(row, column, expected, completion, fix);
  if (completion[0]!.role !== 'assistant') {
    const assistant = 'a completion that begins with a message of the role assistant';
    throw wrongColumn(row, column, assistant, rolesOf(completion));
  }
  for (const [index, { role, content, tool_calls }] of completion.entries()) {
    const empty = typeof content === 'string' ? content.trim() === '' : (content?.length ?? 0) === 0;
    if (role === 'assistant' && empty && tool_calls === undefined) {
      throw wrongColumn(row, `${column}[${index}].content`, expected, content, fix);
    }
  }
}

const rolesOf = (messages: readonly Message[]): readonly string[] => messages.map((message) => message.role);

/** The columns of a row for an error, with the type that they spell unless it is `expected`. */
export function describeColumns(row: Row, expected?: RowType): string {
  const names = Object.keys(row.columns).map((name) => `\`${name}\``);
  const detected = detectRowType(row);
  const hint = detected === undefined || detected === expected ? '' : ` of a ${detected} row`;
  return names.length === 0 ? 'no columns' : `columns ${names.join(', ')}${hint}`;
}

function missingColumn(row: Row, column: string, type: RowType): DataError {
  return new DataError({
    where: row.where,
    expected: `a column \`${column}\``,
    received: describeColumns(row, type),
    fix: `${type.startsWith('u') ? 'An' : 'A'} ${type} row has ${columnsOfType[type]}`,
  });
}

function wrongColumn(row: Row, column: string, expected: string, value: unknown, fix?: string): DataError {
  const json = JSON.stringify(value) ?? 'nothing';
  return new DataError({
    where: `${row.where}, \`${column}\``,
    expected,
    received: json.length > 80 ? `${json.slice(0, 80)}…` : json,
    ...(fix === undefined ? {} : { fix }),
  });
}
