/** The server as a function of a request: OpenAI's routes over served models. Opens no port and reads no clock of its own. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { type Context, Hono } from 'hono';
import type { z } from 'zod';
import { type Call, chatCompletions, completions } from './completions.ts';
import { embeddings, scores } from './embed-and-score.ts';
import { ApiError, errorResponse, invalid, toApiError } from './errors.ts';
import { type AdapterSource, createAdapterManager, loadSchema, unloadSchema } from './manage-adapters.ts';
import { createMetrics } from './metrics.ts';
import { chatSchema, completionSchema, embeddingSchema, parseBody, scoreSchema } from './schemas.ts';
import type { ServedModel } from './served-model.ts';

export interface AppOptions {
  readonly models: readonly ServedModel[];
  /** Clients must send it as `Authorization: Bearer …`; none is asked for when left out. */
  readonly apiKey?: string | undefined;
  /** Where clients may load adapters from; nowhere when left out. */
  readonly adapters?: AdapterSource | undefined;
  /** Largest body, bytes. */
  readonly maxBodyBytes: number;
  /** Requests answered at a time; beyond, 429. */
  readonly maxRequests: number;
  /** Milliseconds since some moment. */
  readonly clock: () => number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** A name for a request that brings none. */
  readonly newId: () => string;
  /** One line per request, and what went wrong. */
  readonly log: (entry: LogEntry) => void;
}

export interface LogEntry {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly ms: number;
  /** Of failures that are not the client's. */
  readonly error?: unknown;
}

export interface App {
  fetch(request: Request): Response | Promise<Response>;
  /** Requests being answered. */
  readonly inFlight: number;
  /**
   * Refuses new requests with 503, waits until all are answered or `deadline` settles, then withdraws what is left and frees
   * the models.
   */
  close(deadline: Promise<void>): Promise<void>;
}

type Variables = { Variables: { requestId: string; end: (status: number, error?: unknown) => void } };

export function createApp(options: AppOptions): App {
  const { clock, now, newId, log } = options;
  const models = new Map(options.models.map((model) => [model.id, model]));
  const metrics = createMetrics(() => models.values());
  const app = new Hono<Variables>();
  const created = Math.floor(now() / 1000);
  const keyHash = options.apiKey === undefined ? undefined : sha256(options.apiKey);
  const aborts = new Set<AbortController>();
  /** Requests under way by model, and models that wait for theirs to end. */
  const asked = new Map<ServedModel, number>();
  const leaving = new Set<ServedModel>();
  let requestNumber = 0;
  let closing = false;
  let idle: (() => void) | undefined;

  app.onError((error, c) => {
    const shown = toApiError(error);
    c.get('end')?.(shown.fields.status, shown.fields.status === 500 ? error : undefined);
    return withId(errorResponse(shown), c.get('requestId'));
  });
  app.notFound((c) => {
    c.get('end')?.(404);
    return withId(
      errorResponse(
        new ApiError({
          status: 404,
          type: 'invalid_request_error',
          message: `Unknown request: ${c.req.method} ${c.req.path}.`,
          code: 'unknown_url',
        }),
      ),
      c.get('requestId'),
    );
  });

  app.use(async (c, next) => {
    const sent = c.req.header('x-request-id');
    const id = sent !== undefined && /^[\w.-]{1,128}$/.test(sent) ? sent : newId();
    const start = clock();
    const route = routes.has(c.req.path)
      ? c.req.path
      : c.req.path.startsWith('/v1/models/')
        ? '/v1/models/:id'
        : 'other';
    let ended = false;
    metrics.inFlight.inc();
    c.set('requestId', id);
    c.set('end', (status, error) => {
      if (ended) return;
      ended = true;
      metrics.inFlight.dec();
      metrics.requests.inc({ route, status: String(status) });
      metrics.seconds.observe({ route }, (clock() - start) / 1000);
      const failure = error === undefined ? {} : { error };
      log({ id, method: c.req.method, path: c.req.path, status, ms: clock() - start, ...failure });
      if (aborts.size === 0) idle?.();
    });
    await next();
  });

  app.use('/v1/*', async (c, next) => {
    if (closing) throw shuttingDown();
    if (keyHash !== undefined) {
      const given = /^Bearer (.+)$/i.exec(c.req.header('authorization') ?? '')?.[1];
      // Hashes have one length, so that the time of the comparison tells nothing.
      if (given === undefined || !timingSafeEqual(sha256(given), keyHash))
        throw new ApiError({
          status: 401,
          type: 'authentication_error',
          message:
            given === undefined
              ? 'No API key was given. Send it as "Authorization: Bearer <key>".'
              : 'The API key is wrong.',
          code: 'invalid_api_key',
        });
    }
    await next();
  });

  const describe = (model: ServedModel): Record<string, unknown> => ({
    id: model.id,
    object: 'model',
    created,
    owned_by: 'heed',
    root: model.parent ?? model.id,
    parent: model.parent ?? null,
    max_model_len: model.maxTokens,
    kind: model.kind,
  });
  const done = (c: Context<Variables>, response: Response): Response => {
    c.get('end')(response.status);
    return withId(response, c.get('requestId'));
  };

  app.get('/health', (c) =>
    done(c, Response.json({ status: closing ? 'closing' : 'ok' }, { status: closing ? 503 : 200 })),
  );
  app.get('/metrics', async (c) =>
    done(c, new Response(await metrics.text(), { headers: { 'content-type': metrics.contentType } })),
  );
  app.get('/v1/models', (c) =>
    done(c, Response.json({ object: 'list', data: [...models.values()].map(describe) })),
  );
  app.get('/v1/models/:id{.+}', (c) => done(c, Response.json(describe(findModel(c.req.param('id'))))));

  function count(model: ServedModel, more: 1 | -1): void {
    asked.set(model, (asked.get(model) ?? 0) + more);
    freeIdle(model);
  }
  function freeIdle(model: ServedModel): void {
    if (closing || !leaving.has(model) || (asked.get(model) ?? 0) > 0) return;
    leaving.delete(model);
    asked.delete(model);
    model.dispose().catch((error: unknown) => {
      log({ id: '', method: 'unload', path: model.id, status: 500, ms: 0, error });
    });
  }

  function findModel(id: string): ServedModel {
    const model = models.get(id);
    if (model !== undefined) return model;
    throw new ApiError({
      status: 404,
      type: 'invalid_request_error',
      message: `The model "${id.slice(0, 200)}" does not exist. This server has: ${[...models.keys()].join(', ')}.`,
      param: 'model',
      code: 'model_not_found',
    });
  }

  function post<S extends z.ZodType<{ model: string }>>(
    path: string,
    schema: S,
    handle: (body: z.output<S>, call: Call) => Promise<Response>,
  ): void {
    routes.add(path);
    app.post(path, async (c) => {
      if (aborts.size >= options.maxRequests)
        throw new ApiError({
          status: 429,
          type: 'rate_limit_error',
          message: 'Too many requests at a time. Try again later.',
          code: 'rate_limit_exceeded',
          retryAfter: 1,
        });
      const controller = new AbortController();
      aborts.add(controller);
      const { signal: gone } = c.req.raw;
      const leave = (): void => {
        metrics.disconnects.inc();
        controller.abort();
      };
      const start = clock();
      let model: ServedModel | undefined;
      let open = true;
      const end = (status: number, error?: unknown): void => {
        if (!open) return;
        open = false;
        gone.removeEventListener('abort', leave);
        aborts.delete(controller);
        if (model !== undefined) count(model, -1);
        c.get('end')(status, error);
      };
      gone.addEventListener('abort', leave);
      let failure: unknown;
      try {
        const body = parseBody(schema, parseJson(await readBody(c.req.raw, options.maxBodyBytes)));
        model = findModel(body.model);
        const { id } = model;
        count(model, 1);
        return await handle(body, {
          model,
          requestId: c.get('requestId'),
          requestNumber: requestNumber++,
          created: Math.floor(now() / 1000),
          signal: controller.signal,
          headers: { 'x-request-id': c.get('requestId') },
          onTokens: (kind, tokens) => metrics.tokens.inc({ model: id, kind }, tokens),
          onFirstToken: () => metrics.firstToken.observe({ model: id }, (clock() - start) / 1000),
          onError: (error) => {
            failure = error;
          },
          onEnd: () => end(failure === undefined ? 200 : 500, failure),
        });
      } catch (error) {
        const { status } = toApiError(error).fields;
        end(status, status === 500 ? error : undefined);
        throw error;
      }
    });
    app.all(path, (c) => {
      throw new ApiError({
        status: 405,
        type: 'invalid_request_error',
        message: `Use POST for ${c.req.path}, not ${c.req.method}.`,
        code: 'method_not_allowed',
      });
    });
  }
  const routes = new Set([
    ...['/health', '/metrics', '/v1/models'],
    ...['/v1/load_lora_adapter', '/v1/unload_lora_adapter'],
  ]);
  post('/v1/chat/completions', chatSchema, chatCompletions);
  post('/v1/completions', completionSchema, completions);
  post('/v1/embeddings', embeddingSchema, embeddings);
  post('/v1/score', scoreSchema, scores);
  if (options.adapters !== undefined) {
    const manager = createAdapterManager(models, options.adapters, (model) => {
      leaving.add(model);
      freeIdle(model);
    });
    const read = async <S extends z.ZodType>(c: Context<Variables>, schema: S): Promise<z.output<S>> =>
      parseBody(schema, parseJson(await readBody(c.req.raw, options.maxBodyBytes)));
    app.post('/v1/load_lora_adapter', async (c) =>
      done(c, Response.json(describe(await manager.load(await read(c, loadSchema))))),
    );
    app.post('/v1/unload_lora_adapter', async (c) =>
      done(c, Response.json(describe(manager.unload(await read(c, unloadSchema))))),
    );
  }

  return {
    fetch: (request) => app.fetch(request),
    get inFlight() {
      return aborts.size;
    },
    async close(deadline) {
      closing = true;
      const empty = new Promise<void>((resolve) => {
        idle = resolve;
      });
      if (aborts.size > 0) await Promise.race([empty, deadline]);
      for (const controller of aborts) controller.abort();
      await Promise.all([...models.values(), ...leaving].map((model) => model.dispose()));
    },
  };
}

function withId(response: Response, id: string | undefined): Response {
  if (id !== undefined) response.headers.set('x-request-id', id);
  return response;
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();

const shuttingDown = (): ApiError =>
  new ApiError({
    status: 503,
    type: 'service_unavailable_error',
    message: 'The server is shutting down.',
    code: 'shutting_down',
    retryAfter: 5,
  });

/** The body, of which no more than the limit is read. */
async function readBody(request: Request, limit: number): Promise<string> {
  const tooLarge = (): ApiError =>
    new ApiError({
      status: 413,
      type: 'invalid_request_error',
      message: `The body is larger than ${limit} bytes.`,
      code: 'request_too_large',
    });
  if (Number(request.headers.get('content-length') ?? 0) > limit) throw tooLarge();
  if (request.body === null) return '';
  const reader = request.body.getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw invalid(null, 'The body ended early.', 'invalid_body');
    });
    if (done) break;
    size += value.byteLength;
    if (size > limit) {
      reader.cancel().catch(() => undefined);
      throw tooLarge();
    }
    parts.push(value);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts));
  } catch {
    throw invalid(null, 'The body is not valid UTF-8.', 'invalid_body');
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(null, `The body is not valid JSON: ${(error as Error).message}.`, 'invalid_json');
  }
}
