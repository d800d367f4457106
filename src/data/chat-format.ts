/** Conversations as text, through the Jinja chat templates that Hugging Face tokenizers carry. */
import { Environment, Interpreter, Template } from '@huggingface/jinja';
import { DataError } from '../core/errors.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import type { Message } from './row-types.ts';

export interface ChatFormatOptions {
  /** Jinja source to use instead of the tokenizer's. */
  readonly template?: string;
  /** Which of the tokenizer's named templates to use. Default: the unnamed one. */
  readonly templateName?: string;
  /** The day that `strftime_now` tells the template, so that a run does not depend on when it runs. Default 2025-01-01, UTC. */
  readonly date?: Date;
  /** Further variables for the template, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

export interface RenderOptions {
  /** End with what precedes the assistant's next message. Default false. */
  readonly addGenerationPrompt?: boolean;
  readonly tools?: readonly unknown[];
}

/** A chat template made ready. */
export interface ChatFormat {
  /** Where the template comes from; `default` is our own plain one, for tokenizers that have none. */
  readonly source: 'option' | 'tokenizer' | 'default';
  /** Jinja source. */
  readonly template: string;
  /** The text of EOS that the template writes. */
  readonly eosToken?: string;
  /** @throws DataError with the template's own words when it refuses the messages, or when it does not end */
  render(messages: readonly Message[], options?: RenderOptions): string;
}

/**
 * The chat format of a tokenizer: the template given, else the tokenizer's (`chat_template.jinja` before
 * `tokenizer_config.json`), else `defaultChatTemplate`.
 *
 * @throws DataError when the template does not parse or no template has the name
 */
export function chatFormat(tokenizer: Tokenizer, options: ChatFormatOptions = {}): ChatFormat {
  const { template: given, templateName, date = new Date(Date.UTC(2025, 0, 1)), variables } = options;
  const named = templateName === undefined ? undefined : tokenizer.chatTemplates.get(templateName);
  if (templateName !== undefined && named === undefined) {
    const names = [...tokenizer.chatTemplates.keys()];
    throw new DataError({
      where: 'chat template',
      expected: `a template named "${templateName}"`,
      received: names.length === 0 ? 'a tokenizer without templates' : `templates ${names.join(', ')}`,
    });
  }
  const own = given ?? named ?? tokenizer.chatTemplate;
  const source = given !== undefined ? 'option' : own !== undefined ? 'tokenizer' : 'default';
  const template = own ?? defaultChatTemplate(tokenizer);
  const where =
    templateName === undefined || given !== undefined ? 'chat template' : `chat template "${templateName}"`;
  const parsed = parse(template, where);
  const eosToken = tokenizer.specialTokens.eos_token;
  return {
    source,
    template,
    ...(eosToken === undefined ? {} : { eosToken }),
    render(messages, { addGenerationPrompt = false, tools } = {}) {
      const environment = new Environment();
      const globals: Record<string, unknown> = {
        ...jinjaGlobals(date),
        ...tokenizer.specialTokens,
        ...variables,
        messages,
        add_generation_prompt: addGenerationPrompt,
        ...(tools === undefined ? {} : { tools }),
      };
      for (const [name, value] of Object.entries(globals)) environment.set(name, value);
      try {
        return (boundedInterpreter(environment).run(parsed) as { value: string }).value;
      } catch (cause) {
        throw new DataError({
          where,
          expected: 'messages that the template accepts',
          received: `${messages.map((message) => message.role).join(', ') || 'no messages'}: ${reasonOf(cause)}`,
          fix: 'Change the messages or pass another template',
          cause,
        });
      }
    },
  };
}

/**
 * A plain chat template for tokenizers without one. It needs no token beyond EOS, which ends each assistant message:
 *
 *     System: Be brief.
 *
 *     User: Hello
 *
 *     Assistant: Hi.</s>
 *
 * BOS comes first when the tokenizer puts it before every text. The generation prompt ends at the colon, so that a
 * completion begins with a space, as words do.
 */
export function defaultChatTemplate(tokenizer: Pick<Tokenizer, 'addsBos'>): string {
  return [
    tokenizer.addsBos ? '{{ bos_token }}' : '',
    "{%- for message in messages -%}{%- if not loop.first -%}{{ '\\n\\n' }}{%- endif -%}",
    "{{ (message['role'] | capitalize) + ': ' + message['content'] }}",
    "{%- if message['role'] == 'assistant' -%}{{ eos_token }}{%- endif -%}{%- endfor -%}",
    "{%- if add_generation_prompt -%}{%- if messages -%}{{ '\\n\\n' }}{%- endif -%}{{ 'Assistant:' }}{%- endif -%}",
  ].join('');
}

/** Steps of one rendering: a conversation of a thousand messages takes some hundred thousand. */
const MOST_STEPS = 1_000_000;
/** Characters of one value. */
const MOST_CHARACTERS = 1 << 25;
/** Numbers of one `range`. */
const MOST_NUMBERS = 100_000;

/** An interpreter that gives up on a template that runs without end or fills the memory. */
function boundedInterpreter(environment: Environment): Interpreter {
  const interpreter = new Interpreter(environment);
  const evaluate = interpreter.evaluate.bind(interpreter);
  let steps = 0;
  interpreter.evaluate = (...given: Parameters<Interpreter['evaluate']>) => {
    if (++steps > MOST_STEPS) throw new Error(`more than ${MOST_STEPS} steps: the template does not end`);
    const value = evaluate(...given);
    if (typeof value.value === 'string' && value.value.length > MOST_CHARACTERS) {
      throw new Error(`a text of more than ${MOST_CHARACTERS} characters`);
    }
    return value;
  };
  return interpreter;
}

function parse(template: string, where: string): Template['parsed'] {
  try {
    return new Template(template).parsed;
  } catch (cause) {
    throw new DataError({
      where: `${where}${placeOfError(template, reasonOf(cause))}`,
      expected: 'a Jinja template that @huggingface/jinja parses',
      received: reasonOf(cause),
      fix: 'Correct the template or pass another one',
      cause,
    });
  }
}

/**
 * Line and column of the tag that a template fails at. The parser tells no place; but a template cut after that tag fails for
 * the same reason, and one cut before it does not, so the place is found by halving.
 */
function placeOfError(template: string, reason: string): string {
  const tags = [...template.matchAll(/\{[{%#]/g)].map(({ index }) => index);
  const failsBefore = (tag: number): boolean => {
    try {
      new Template(template.slice(0, tags[tag] ?? template.length));
      return false;
    } catch (cause) {
      return reasonOf(cause) === reason;
    }
  };
  let [low, high] = [0, tags.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (failsBefore(middle)) high = middle;
    else low = middle + 1;
  }
  const at = tags[low - 1];
  if (at === undefined) return '';
  const before = template.slice(0, at);
  return `, line ${before.split('\n').length}, column ${at - before.lastIndexOf('\n')}`;
}

/** What every template may use. Set here rather than by `Template.render`, whose `strftime_now` reads the clock. */
function jinjaGlobals(date: Date): Record<string, unknown> {
  return {
    false: false,
    true: true,
    none: null,
    False: false,
    True: true,
    None: null,
    range,
    raise_exception(message: string) {
      throw new Error(message);
    },
    strftime_now: (format: string) => formatDate(date, format),
  };
}

/** Python's `range` with one to three whole numbers. */
function range(start: number, stop?: number, step = 1): number[] {
  const from = stop === undefined ? 0 : start;
  const to = stop ?? start;
  if (step === 0) throw new Error('range: step must not be 0');
  if (Math.abs(to - from) / Math.abs(step) > MOST_NUMBERS) {
    throw new Error(`range: more than ${MOST_NUMBERS} numbers`);
  }
  return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
}

const months = 'January February March April May June July August September October November December'.split(
  ' ',
);
const days = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/** The part of Python's `strftime` that templates use, in UTC and English. */
function formatDate(date: Date, format: string): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  return format.replace(/%([YmdBbAaHMS%])/g, (_, code: string) => {
    switch (code) {
      case 'Y':
        return String(date.getUTCFullYear());
      case 'm':
        return two(date.getUTCMonth() + 1);
      case 'd':
        return two(date.getUTCDate());
      case 'B':
        return months[date.getUTCMonth()]!;
      case 'b':
        return months[date.getUTCMonth()]!.slice(0, 3);
      case 'A':
        return days[date.getUTCDay()]!;
      case 'a':
        return days[date.getUTCDay()]!.slice(0, 3);
      case 'H':
        return two(date.getUTCHours());
      case 'M':
        return two(date.getUTCMinutes());
      case 'S':
        return two(date.getUTCSeconds());
      default:
        return '%';
    }
  });
}

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
