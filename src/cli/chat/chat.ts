/** A conversation in the terminal as a loop over lines: knows no terminal, so that it can be tested. */
import { HeedError } from '../../core/errors.ts';
import type { Message } from '../../data/index.ts';

/** What a model answers with, piece by piece. */
export interface ChatModel {
  readonly name: string;
  /** Calls `onText` with each piece; ends early when the signal aborts. Resolves to the number of tokens made. */
  answer(
    messages: readonly Message[],
    sampling: ChatSampling,
    onText: (text: string) => void,
    signal: AbortSignal,
  ): Promise<number>;
}

export interface ChatSampling {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly maxNewTokens: number;
  readonly seed: number;
}

export interface ChatOptions {
  readonly model: ChatModel;
  /** Models to switch to by name. */
  readonly models: readonly string[];
  /** Loads another model. */
  readonly load: (name: string) => Promise<ChatModel>;
  readonly system?: string | undefined;
  readonly sampling: ChatSampling;
  /** The next line, or undefined at the end of the input. */
  readonly readLine: (prompt: string) => Promise<string | undefined>;
  /** Text of the model. */
  readonly write: (text: string) => void;
  /** Words of the program itself. */
  readonly note: (text: string) => void;
  /** Milliseconds. */
  readonly clock: () => number;
  /** Calls back at Ctrl-C until the returned function is called. */
  readonly onInterrupt: (handler: () => void) => () => void;
}

const help = `  /model [name]       show the models, or switch to one; the conversation goes on
  /system [text]      show or set the system prompt
  /set <key> <value>  temperature, topP, topK, maxNewTokens or seed
  /retry              another answer to the last message
  /history            show the conversation
  /reset              forget the conversation
  /quit               leave; Ctrl-D does, too
Ctrl-C stops an answer. A line that ends with \\ goes on in the next.`;

/** What an answer is sampled with: each has draws of its own. */
function samplingOf(
  { temperature, topP, topK, maxNewTokens, seed }: ChatSampling,
  answer: number,
): ChatSampling {
  return { temperature, topP, topK, maxNewTokens, seed: seed + answer };
}

/** Runs until /quit or the end of the input. */
export async function chat(options: ChatOptions): Promise<void> {
  const { readLine, write, note, clock, onInterrupt } = options;
  let { model, system } = options;
  let sampling = samplingOf(options.sampling, 0);
  let turns: Message[] = [];
  /** Answers of a conversation: each has draws of its own. */
  let answers = 0;

  async function answer(): Promise<void> {
    const controller = new AbortController();
    const release = onInterrupt(() => controller.abort());
    const start = clock();
    let text = '';
    try {
      const messages = system === undefined ? turns : [{ role: 'system', content: system }, ...turns];
      const tokens = await model.answer(
        messages,
        samplingOf(sampling, answers++),
        (piece) => {
          text += piece;
          write(piece);
        },
        controller.signal,
      );
      write('\n');
      const seconds = Math.max((clock() - start) / 1000, 1e-3);
      const stopped = controller.signal.aborted ? ', stopped' : '';
      note(`${tokens} tokens, ${(tokens / seconds).toFixed(0)}/s${stopped}`);
      turns.push({ role: 'assistant', content: text });
    } catch (error) {
      // A conversation that has become too long is no reason to lose it.
      if (!(error instanceof HeedError) && !(error instanceof Error && error.name === 'ApiError'))
        throw error;
      turns.pop();
      note((error as Error).message);
    } finally {
      release();
    }
  }

  async function command(line: string): Promise<void> {
    const [, name, rest = ''] = /^\/(\S*)\s*(.*)$/s.exec(line)!;
    switch (name) {
      case 'help':
        return note(help);
      case 'reset':
        turns = [];
        return note('the conversation is forgotten');
      case 'history':
        return note(
          turns.map(({ role, content }) => `${role}: ${content}`).join('\n') || 'nothing was said yet',
        );
      case 'system':
        if (rest !== '') system = rest;
        return note(system === undefined ? 'no system prompt' : `system prompt: ${system}`);
      case 'retry':
        if (turns.at(-1)?.role === 'assistant') turns.pop();
        return turns.length === 0 ? note('nothing to answer yet') : answer();
      case 'set':
        return set(rest);
      case 'model':
        if (rest === '') {
          const names = [...new Set([model.name, ...options.models])];
          return note(names.map((one) => (one === model.name ? `${one} (now)` : one)).join('\n'));
        }
        try {
          model = await options.load(rest);
          return note(`now talking with ${model.name}`);
        } catch (error) {
          if (!(error instanceof HeedError)) throw error;
          return note(error.message);
        }
      default:
        note(`unknown command /${name}; /help lists them`);
    }
  }

  function set(rest: string): void {
    const [key = '', text = ''] = rest.split(/[\s=]+/);
    const value = Number(text);
    if (!(key in sampling)) {
      note(`${key || 'nothing'} cannot be set; ${Object.keys(sampling).join(', ')} can`);
      return;
    }
    const whole = key !== 'temperature' && key !== 'topP';
    const least = key === 'maxNewTokens' ? 1 : 0;
    const inRange = value >= least && (key !== 'topP' || (value > 0 && value <= 1));
    if (text === '' || !inRange || (whole && !Number.isInteger(value))) {
      const now = sampling[key as keyof ChatSampling];
      note(`${key}: ${text || 'nothing'} is no value for it; it is ${now}`);
      return;
    }
    sampling = { ...sampling, [key]: value };
    note(`${key} is ${value}`);
  }

  note(`talking with ${model.name}; /help lists commands`);
  for (;;) {
    let line = await readLine('> ');
    while (line?.endsWith('\\')) {
      const more = await readLine('… ');
      line = `${line.slice(0, -1)}\n${more ?? ''}`;
    }
    if (line === undefined || line.trim() === '/quit' || line.trim() === '/exit') return;
    if (line.trim() === '') continue;
    if (line.startsWith('/')) await command(line.trim());
    else {
      turns.push({ role: 'user', content: line });
      await answer();
    }
  }
}
