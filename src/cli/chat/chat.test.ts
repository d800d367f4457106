import { describe, expect, it } from 'vitest';
import { DataError } from '../../core/errors.ts';
import type { Message } from '../../data/index.ts';
import { type ChatModel, type ChatSampling, chat } from './chat.ts';

interface Asked {
  readonly model: string;
  readonly messages: readonly Message[];
  readonly sampling: ChatSampling;
}

/** Runs a conversation of these lines with models that say "<name> <turn>". */
async function talk(
  lines: readonly string[],
  answer?: ChatModel['answer'],
): Promise<{ asked: Asked[]; written: string; notes: string[] }> {
  const asked: Asked[] = [];
  const notes: string[] = [];
  let written = '';
  const handlers = new Set<() => void>();
  const named = (name: string): ChatModel => ({
    name,
    answer: async (messages, sampling, onText, signal) => {
      asked.push({ model: name, messages: structuredClone(messages), sampling });
      if (answer !== undefined) {
        const made = answer(messages, sampling, onText, signal);
        for (const handler of handlers) handler();
        return made;
      }
      onText(`${name} `);
      onText(String(asked.length));
      return 2;
    },
  });
  const left = [...lines];
  await chat({
    model: named('first'),
    models: ['first', 'second'],
    load: async (name) => {
      if (name === 'second') return named(name);
      throw new DataError({ where: 'load', expected: 'a model', received: name });
    },
    sampling: { temperature: 1, topP: 1, topK: 0, maxNewTokens: 8, seed: 3 },
    readLine: async () => left.shift(),
    write: (text) => {
      written += text;
    },
    note: (text) => notes.push(text),
    clock: () => 0,
    onInterrupt: (handler) => {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
  });
  return { asked, written, notes };
}

const contents = ({ messages }: Asked): unknown[] => messages.map(({ role, content }) => [role, content]);

describe('chat', () => {
  it('keeps the conversation, with the system prompt in front', async () => {
    const { asked, written } = await talk(['/system Be brief.', 'one', 'two\\', 'lines', '/quit', 'never']);
    expect(written).toBe('first 1\nfirst 2\n');
    expect(contents(asked[1]!)).toEqual([
      ['system', 'Be brief.'],
      ['user', 'one'],
      ['assistant', 'first 1'],
      ['user', 'two\nlines'],
    ]);
    expect(asked).toHaveLength(2);
  });
  it('switches the model in the middle, and stays with the old one when there is no such model', async () => {
    const { asked, notes } = await talk(['one', '/model third', '/model second', 'two']);
    expect(asked.map(({ model }) => model)).toEqual(['first', 'second']);
    expect(contents(asked[1]!)).toHaveLength(3);
    expect(notes.join('\n')).toMatch(/expected a model, received third/);
  });
  it('forgets, and answers again with other draws', async () => {
    const { asked } = await talk(['one', '/retry', '/reset', '/retry', 'two']);
    expect(asked.map(contents)).toEqual([[['user', 'one']], [['user', 'one']], [['user', 'two']]]);
    expect(asked.map(({ sampling }) => sampling.seed)).toEqual([3, 4, 5]);
  });
  it('sets what can be set, and refuses the rest', async () => {
    const { asked, notes } = await talk([
      '/set temperature 0',
      '/set topP 2',
      '/set colour 1',
      '/set topK 1.5',
      'x',
    ]);
    expect(asked[0]!.sampling).toMatchObject({ temperature: 0, topP: 1, topK: 0 });
    expect(notes.filter((note) => /no value|cannot be set/.test(note))).toHaveLength(3);
  });
  it('stops an answer at Ctrl-C and goes on, with what was said', async () => {
    const { asked, notes } = await talk(['one', 'two'], async (_, __, onText, signal) => {
      onText('half');
      await new Promise((resolve) => setImmediate(resolve));
      expect(signal.aborted).toBe(true);
      return 1;
    });
    expect(contents(asked[1]!)).toContainEqual(['assistant', 'half']);
    expect(notes.filter((note) => note.endsWith('stopped'))).toHaveLength(2);
  });
  it('reports a conversation that cannot be answered, and forgets its last turn', async () => {
    let calls = 0;
    const { asked, notes } = await talk(['one', 'two'], async () => {
      if (calls++ > 0) return 0;
      throw new DataError({ where: 'conversation', expected: 'room', received: 'none' });
    });
    expect(notes.join('\n')).toContain('conversation: expected room, received none');
    expect(contents(asked[1]!)).toEqual([['user', 'two']]);
  });
});
