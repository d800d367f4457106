/** What `/metrics` tells Prometheus. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ServedModel } from './served-model.ts';

export interface ServerMetrics {
  readonly requests: Counter<'route' | 'status'>;
  readonly seconds: Histogram<'route'>;
  readonly firstToken: Histogram<'model'>;
  readonly tokens: Counter<'model' | 'kind'>;
  readonly disconnects: Counter;
  readonly inFlight: Gauge;
  text(): Promise<string>;
  readonly contentType: string;
}

/** Metrics of one server, in a registry of its own. */
export function createMetrics(models: () => Iterable<ServedModel>): ServerMetrics {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, read: (model: ServedModel) => number): void => {
    new Gauge({
      ...{ name, help, registers, labelNames: ['model'] },
      collect() {
        this.reset();
        for (const model of models()) this.set({ model: model.id }, read(model));
      },
    });
  };
  gauge('heed_rows_active', 'Completions being decoded.', ({ session }) => session?.active ?? 0);
  gauge('heed_rows_waiting', 'Completions waiting for a slot.', ({ session }) => session?.waiting ?? 0);
  gauge('heed_rows_capacity', 'Completions that can be decoded together.', ({ slots }) => slots);
  gauge(
    'heed_guessed_tokens',
    'Tokens guessed ahead, since the start.',
    ({ session }) => session?.speculated.guessed ?? 0,
  );
  gauge(
    'heed_guessed_tokens_kept',
    'Those of them that were right.',
    ({ session }) => session?.speculated.kept ?? 0,
  );
  gauge('heed_passes', 'Scoring and embedding requests under way or waiting.', ({ passes }) => passes);
  const seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];
  return {
    requests: new Counter({
      ...{ name: 'heed_requests_total', help: 'Answered requests by route and status.', registers },
      labelNames: ['route', 'status'],
    }),
    seconds: new Histogram({
      ...{ name: 'heed_request_seconds', help: 'Time until the whole answer is ready.', registers },
      ...{ labelNames: ['route'], buckets: seconds },
    }),
    firstToken: new Histogram({
      ...{ name: 'heed_time_to_first_token_seconds', help: 'Time to the first token.', registers },
      ...{ labelNames: ['model'], buckets: seconds },
    }),
    tokens: new Counter({
      ...{ name: 'heed_tokens_total', help: 'Tokens read (prompt) and made (completion).', registers },
      labelNames: ['model', 'kind'],
    }),
    disconnects: new Counter({
      ...{
        name: 'heed_disconnects_total',
        help: 'Clients that left before the answer was complete.',
        registers,
      },
    }),
    inFlight: new Gauge({ name: 'heed_requests_in_flight', help: 'Requests being answered.', registers }),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}
