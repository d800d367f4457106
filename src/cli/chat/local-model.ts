/** A served model as a partner of a conversation, in this process. */
import { toRows } from '../../data/index.ts';
import { startChoices } from '../../serve/choices.ts';
import type { ServedModel } from '../../serve/index.ts';
import type { ChatModel } from './chat.ts';

export function localChatModel(model: ServedModel): ChatModel {
  return {
    name: model.id,
    async answer(messages, { temperature, topP, topK, maxNewTokens, seed }, onText, signal) {
      const [row] = toRows([{ prompt: messages }], 'conversation');
      const prompt = Array.from(model.encoder.prompt(row!).ids);
      let tokens = 0;
      const choices = startChoices({
        model,
        prompts: [prompt],
        // `stream`: text comes with its tokens instead of at the end.
        body: { model: model.id, stream: true, temperature, top_p: topP, top_k: topK, seed },
        ...{ n: 1, maxNewTokens, topLogProbs: 0, requestNumber: 0 },
        onPiece: ({ text }) => {
          tokens++;
          if (text !== '') onText(text);
        },
      });
      const stop = (): void => choices.cancel();
      signal.addEventListener('abort', stop);
      try {
        await choices.done;
      } finally {
        signal.removeEventListener('abort', stop);
      }
      return tokens;
    },
  };
}
