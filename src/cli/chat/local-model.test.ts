import { afterAll, expect, it } from 'vitest';
import { type TinyServer, tinyServer } from '../../../test/support/tiny-server.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { localChatModel } from './local-model.ts';

const engine = createOrtEngine({ threads: 1 });
const server: TinyServer = tinyServer(engine);
afterAll(async () => {
  await Promise.all([server.text.dispose(), server.reward.dispose()]);
  engine.dispose();
});

const messages = [{ role: 'user', content: 'Hi' }];
const sampling = { temperature: 1, topP: 1, topK: 0, maxNewTokens: 40, seed: 3 };

it('shows text as its tokens come, and what there was when it is stopped', async () => {
  const model = localChatModel(server.text);
  const pieces: string[] = [];
  const tokens = await model.answer(
    messages,
    sampling,
    (text) => pieces.push(text),
    new AbortController().signal,
  );
  expect(pieces.length).toBeGreaterThan(tokens / 4);
  const controller = new AbortController();
  let text = '';
  const made = await model.answer(
    messages,
    sampling,
    (piece) => {
      text += piece;
      if (text.length > 5) controller.abort();
    },
    controller.signal,
  );
  expect(made).toBeLessThan(tokens);
  expect(text.length).toBeGreaterThan(5);
  expect(pieces.join('').startsWith(text)).toBe(true);
});
