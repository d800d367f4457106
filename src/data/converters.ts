/** Rows of well-known data sets in the column types of TRL. */
import { DataError } from '../core/errors.ts';
import type { Row } from './row.ts';
import type { Message } from './row-types.ts';

type Columns = Readonly<Record<string, unknown>>;

/** A row that states nothing for the target, such as a tie: none. Else the columns of one row or several. */
type Converted = readonly Columns[];

interface Converter {
  /** Whether rows of this form have these columns. Forms are told apart by this alone, so it must be narrow. */
  readonly detects: (columns: Columns) => boolean;
  readonly convert: (row: Row) => Converted;
}

export const converterNames = [
  'hh-rlhf',
  'alpaca',
  'sharegpt',
  'pku-saferlhf',
  'pku-saferlhf-cost',
  'ultrafeedback',
  'helpsteer',
] as const;
export type ConverterName = (typeof converterNames)[number];

/** How rows are read: a converter; `auto`: the one that recognises the first row, if any; `none`: as they are. */
export const rowForms = ['auto', 'none', ...converterNames] as const;
export type RowForm = (typeof rowForms)[number];

const isText = (value: unknown): value is string => typeof value === 'string';
const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value);
const isObject = (value: unknown): value is Columns =>
  typeof value === 'object' && value !== null && !isList(value);
const isEmpty = (value: unknown): boolean => value === undefined || (isText(value) && value.trim() === '');

const say = (role: string, content: string): Message => ({ role, content });

/** All columns but these. */
function rest(columns: Columns, ...names: readonly string[]): Columns {
  return Object.fromEntries(Object.entries(columns).filter(([name]) => !names.includes(name)));
}

const converters: Readonly<Record<ConverterName, Converter>> = {
  /** Anthropic HH-RLHF: `chosen` and `rejected` are whole dialogues as text, `\n\nHuman:` and `\n\nAssistant:` in turn. */
  'hh-rlhf': {
    detects: ({ chosen, rejected, prompt }) => prompt === undefined && [chosen, rejected].every(isDialogue),
    convert: (row) => {
      const chosen = dialogue(row, 'chosen');
      const rejected = dialogue(row, 'rejected');
      return [{ ...rest(row.columns, 'chosen', 'rejected'), chosen, rejected }];
    },
  },

  /** Stanford Alpaca: `instruction`, `input` (may be empty), `output`; also `system` and `history` [[question, answer], …]. */
  alpaca: {
    detects: ({ instruction, output }) => isText(instruction) && isText(output),
    convert: (row) => {
      const { input, system, history = [] } = row.columns;
      if (!isList(history)) throw wrong(row, 'history', 'a list of [question, answer]', history);
      const before = history.flatMap((turn, index) => {
        const [question, answer] = isList(turn) ? turn : [];
        if (isText(question) && isText(answer)) return [say('user', question), say('assistant', answer)];
        throw wrong(row, `history[${index}]`, '[question, answer]', turn);
      });
      const instruction = text(row, 'instruction');
      const question = isEmpty(input) ? instruction : `${instruction}\n\n${text(row, 'input')}`;
      return [
        {
          ...rest(row.columns, 'instruction', 'input', 'output', 'system', 'history'),
          prompt: [...systemOf(row, system), ...before, say('user', question)],
          completion: [say('assistant', text(row, 'output'))],
        },
      ];
    },
  },

  /** ShareGPT: `conversations` of {from, value}; also `system`, `tools`, and `chosen` and `rejected` as one turn each. */
  sharegpt: {
    detects: ({ conversations }) =>
      isList(conversations) && isObject(conversations[0]) && 'from' in conversations[0],
    convert: (row) => {
      const { conversations, system, chosen, rejected } = row.columns;
      if (!isList(conversations)) throw wrong(row, 'conversations', 'a list of {from, value}', conversations);
      const turns = conversations.map((turn, index) => sharegptTurn(row, `conversations[${index}]`, turn));
      const messages = [...systemOf(row, system), ...turns];
      const others = rest(row.columns, 'conversations', 'system', 'chosen', 'rejected');
      if (chosen === undefined || rejected === undefined) return [{ ...others, messages }];
      return [
        {
          ...others,
          prompt: messages,
          chosen: [sharegptTurn(row, 'chosen', chosen)],
          rejected: [sharegptTurn(row, 'rejected', rejected)],
        },
      ];
    },
  },

  /** PKU-SafeRLHF for a reward model: the response that was called better. */
  'pku-saferlhf': {
    detects: isSafeRlhf,
    convert: (row) => safePair(row, 'better_response_id'),
  },

  /**
   * PKU-SafeRLHF for a cost model: `chosen` is the safer response (the one with the *lower* cost), `chosen_safe` and
   * `rejected_safe` say whether each is safe.
   */
  'pku-saferlhf-cost': {
    detects: () => false, // The same columns as for the reward: it must be asked for.
    convert: (row) => safePair(row, 'safer_response_id'),
  },

  /**
   * UltraFeedback: `instruction` with rated `completions`: the best against the worst by the mean of its four ratings, with their
   * difference as `margin`. Also its binarized form, where `prompt` repeats the first turn of both sides.
   */
  ultrafeedback: {
    detects: ({ instruction, completions, prompt, chosen, rejected }) =>
      (isText(instruction) && isList(completions) && isObject(completions[0])) ||
      (isText(prompt) && isMessages(chosen) && isMessages(rejected) && chosen.length > 1),
    convert: (row) => (isText(row.columns.prompt) ? binarized(row) : bestAgainstWorst(row)),
  },

  /**
   * HelpSteer: `prompt` and `response` with ratings of attributes (0–4), which stay columns. HelpSteer3: `context` with two
   * responses and `overall_preference` from -3 (the first) to 3; 0 states no preference.
   */
  helpsteer: {
    detects: ({ prompt, response, helpfulness, overall_preference: preference, context }) =>
      (isText(prompt) && isText(response) && helpfulness !== undefined) ||
      (isMessages(context) && typeof preference === 'number'),
    convert: (row) => {
      const { overall_preference: preference, context } = row.columns;
      if (context === undefined) {
        return [{ ...rest(row.columns, 'response'), completion: text(row, 'response') }];
      }
      if (!isMessages(context)) throw wrong(row, 'context', 'a list of messages', context);
      if (typeof preference !== 'number') throw wrong(row, 'overall_preference', 'a number', preference);
      const [one, two] = ['response1', 'response2'].map((name) => [say('assistant', text(row, name))]);
      return preference === 0
        ? []
        : [
            {
              ...rest(row.columns, 'context', 'response1', 'response2'),
              prompt: context,
              chosen: preference < 0 ? one : two,
              rejected: preference < 0 ? two : one,
              margin: Math.abs(preference),
            },
          ];
    },
  },
};

/** The converter that recognises a row; undefined when it already has TRL's columns, or none does. */
export function detectConverter(row: Row): ConverterName | undefined {
  return converterNames.find((name) => converters[name].detects(row.columns));
}

/**
 * A row as TRL's columns spell it; none when it states nothing (a tie). Columns that are not used stay.
 *
 * @throws DataError naming the row and the column that is missing or wrong
 */
export function convertRow(row: Row, name: ConverterName): Row[] {
  return converters[name].convert(row).map((columns) => ({ where: row.where, columns }));
}

function wrong(row: Row, column: string, expected: string, value: unknown): DataError {
  const json = JSON.stringify(value) ?? 'nothing';
  return new DataError({
    where: `${row.where}, \`${column}\``,
    expected,
    received: json.length > 60 ? `${json.slice(0, 60)}…` : json,
    fix: 'Correct the row, or name what the rows are with --from',
  });
}

function text(row: Row, column: string): string {
  const value = row.columns[column];
  if (!isText(value)) throw wrong(row, column, 'text', value);
  return value;
}

function systemOf(row: Row, system: unknown): Message[] {
  if (isEmpty(system)) return [];
  return [say('system', text(row, 'system'))];
}

function isMessages(value: unknown): value is readonly Message[] {
  return isList(value) && value.length > 0 && value.every((turn) => isObject(turn) && isText(turn.role));
}

const isDialogue = (value: unknown): boolean => isText(value) && /^\s*Human:/.test(value);

/** Turns of HH-RLHF text. A blank line and a speaker begin a turn; what a speaker says may hold blank lines. */
function dialogue(row: Row, column: string): Message[] {
  const whole = text(row, column);
  if (!isDialogue(whole)) throw wrong(row, column, 'a dialogue that begins with \\n\\nHuman:', whole);
  const marks = [...`\n\n${whole.trimStart()}`.matchAll(/\n\n(Human|Assistant):/g)];
  const source = `\n\n${whole.trimStart()}`;
  return marks.map((mark, index) => {
    const content = source.slice(mark.index + mark[0].length, marks[index + 1]?.index).trim();
    return say(mark[1] === 'Human' ? 'user' : 'assistant', content);
  });
}

const roles: Readonly<Record<string, string>> = {
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  assistant: 'assistant',
  chatgpt: 'assistant',
  bing: 'assistant',
  bard: 'assistant',
  system: 'system',
  tool: 'tool',
  observation: 'tool',
};

function sharegptTurn(row: Row, place: string, turn: unknown): Message {
  const { from, value } = isObject(turn) ? turn : {};
  if (!isText(from) || !isText(value)) throw wrong(row, place, 'a turn {from, value}', turn);
  if (from === 'function_call') {
    let call: unknown;
    try {
      call = JSON.parse(value);
    } catch {
      call = undefined;
    }
    const calls = isList(call) ? call : [call];
    if (!calls.every((one) => isObject(one) && isText(one.name))) {
      throw wrong(row, place, 'a call as JSON text with name and arguments', value);
    }
    return { role: 'assistant', tool_calls: calls.map((one) => ({ type: 'function', function: one })) };
  }
  const role = roles[from.toLowerCase()];
  if (role === undefined) throw wrong(row, `${place}.from`, Object.keys(roles).join(', '), from);
  return say(role, value);
}

function isSafeRlhf(columns: Columns): boolean {
  return ['response_0', 'response_1', 'better_response_id', 'safer_response_id'].every(
    (name) => name in columns,
  );
}

function safePair(row: Row, winner: 'better_response_id' | 'safer_response_id'): Converted {
  const id = row.columns[winner];
  if (id !== 0 && id !== 1) throw wrong(row, winner, '0 or 1', id);
  const responses = [text(row, 'response_0'), text(row, 'response_1')];
  const safe = [0, 1].map((index) => {
    const name = `is_response_${index}_safe`;
    const value = row.columns[name];
    if (typeof value !== 'boolean') throw wrong(row, name, 'true or false', value);
    return value;
  });
  // Some prompts have the same answer twice.
  if (responses[0] === responses[1]) return [];
  const others = Object.entries(row.columns).filter(([name]) => !/response_/.test(name) && name !== 'prompt');
  return [
    {
      prompt: text(row, 'prompt'),
      chosen: responses[id],
      rejected: responses[1 - id],
      chosen_safe: safe[id],
      rejected_safe: safe[1 - id],
      ...Object.fromEntries(others),
    },
  ];
}

function binarized(row: Row): Converted {
  const { prompt, chosen, rejected, score_chosen: high, score_rejected: low } = row.columns;
  for (const [column, side] of Object.entries({ chosen, rejected })) {
    if (!isMessages(side) || side[0]!.content !== prompt) {
      throw wrong(row, column, 'messages that begin with the prompt', side);
    }
  }
  const margin = typeof high === 'number' && typeof low === 'number' ? { margin: high - low } : {};
  return [{ ...rest(row.columns, 'prompt', 'messages'), ...margin }];
}

/** Ratings of a completion of UltraFeedback; those that are "N/A" do not count. */
function meanRating(completion: Columns): number | undefined {
  const { annotations } = completion;
  const ratings = Object.values(isObject(annotations) ? annotations : {})
    .map((annotation) => Number(isObject(annotation) ? annotation.Rating : Number.NaN))
    .filter(Number.isFinite);
  const fine = completion['fine-grained_score'];
  if (ratings.length > 0) return ratings.reduce((sum, rating) => sum + rating, 0) / ratings.length;
  return typeof fine === 'number' ? fine : undefined;
}

function bestAgainstWorst(row: Row): Converted {
  const { completions } = row.columns;
  if (!isList(completions)) throw wrong(row, 'completions', 'a list of rated completions', completions);
  const rated = completions.map((completion, index) => {
    const rating = isObject(completion) ? meanRating(completion) : undefined;
    const response = isObject(completion) ? completion.response : undefined;
    if (rating === undefined || !isText(response)) {
      throw wrong(row, `completions[${index}]`, 'a response with ratings', completion);
    }
    return { rating, response };
  });
  // Of equal ratings the first.
  const best = rated.reduce((a, b) => (b.rating > a.rating ? b : a), rated[0]!);
  const worst = rated.reduce((a, b) => (b.rating < a.rating ? b : a), rated[0]!);
  if (best === undefined || best.rating === worst.rating || best.response === worst.response) return [];
  return [
    {
      ...rest(row.columns, 'instruction', 'completions', 'models'),
      prompt: [say('user', text(row, 'instruction'))],
      chosen: [say('assistant', best.response)],
      rejected: [say('assistant', worst.response)],
      margin: best.rating - worst.rating,
    },
  ];
}
