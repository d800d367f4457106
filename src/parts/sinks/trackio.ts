/** A trackio server, through its bulk_log endpoint. */
import { ConfigError } from '../../core/errors.ts';
import { type Fetch, postJson, remoteSink } from './remote.ts';
import { type Sink, type SinkContext, splitRecord } from './sink.ts';

/**
 * Environment: TRACKIO_SERVER_URL (may end in ?write_token=…), TRACKIO_PROJECT (default heed), TRACKIO_WRITE_TOKEN.
 *
 * @throws ConfigError without an http(s) TRACKIO_SERVER_URL
 * @source trackio 0.43.0: POST /api/bulk_log, header X-Trackio-Write-Token
 */
export function trackioSink({ name, configText, env, warn }: SinkContext, fetchFrom: Fetch = fetch): Sink {
  const server = env.TRACKIO_SERVER_URL;
  if (server === undefined || !/^https?:\/\//.test(server)) {
    throw new ConfigError({
      where: '--report-to trackio',
      expected: 'TRACKIO_SERVER_URL to be the http(s) address of a trackio server',
      received: server === undefined ? 'no such variable' : JSON.stringify(server),
      fix: 'Start one with trackio show, and set TRACKIO_SERVER_URL to the address it prints',
    });
  }
  const url = new URL(server);
  const token = url.searchParams.get('write_token') ?? env.TRACKIO_WRITE_TOKEN;
  const project = env.TRACKIO_PROJECT ?? 'heed';
  let config: { heed: string } | undefined = { heed: configText };
  return remoteSink({
    name: 'trackio',
    warn,
    async send(records) {
      const logs = records.map((record, index) => {
        const { step, values } = splitRecord(record);
        return {
          ...{ project, run: name, step, metrics: Object.fromEntries(values) },
          ...(index === 0 && config !== undefined ? { config } : {}),
        };
      });
      await postJson(
        fetchFrom,
        new URL('/api/bulk_log', url).href,
        { kwargs: { logs, hf_token: null } },
        token === undefined || token === null ? {} : { 'x-trackio-write-token': token },
      );
      config = undefined;
    },
  });
}
