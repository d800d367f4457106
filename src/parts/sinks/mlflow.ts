/** MLflow's tracking server, through its REST API. */
import { ConfigError } from '../../core/errors.ts';
import { type Fetch, postJson, remoteSink } from './remote.ts';
import { type Sink, type SinkContext, splitRecord } from './sink.ts';

/** Metrics of one log-batch call; MLflow takes at most this many. */
const mostMetrics = 1000;
const statuses = { done: 'FINISHED', interrupted: 'KILLED', failed: 'FAILED' } as const;

/**
 * Environment, as MLflow's own client reads it: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME (default heed),
 * MLFLOW_TRACKING_TOKEN.
 *
 * @throws ConfigError without an http(s) MLFLOW_TRACKING_URI
 * @source MLflow REST API 2.0: experiments/get-by-name, experiments/create, runs/create, runs/log-batch, runs/update
 */
export function mlflowSink(context: SinkContext, fetchFrom: Fetch = fetch): Sink {
  const { name, configText, env, now, warn } = context;
  const uri = env.MLFLOW_TRACKING_URI;
  if (uri === undefined || !/^https?:\/\//.test(uri)) {
    throw new ConfigError({
      where: '--report-to mlflow',
      expected: 'MLFLOW_TRACKING_URI to be the http(s) address of a tracking server',
      received: uri === undefined ? 'no such variable' : JSON.stringify(uri),
      fix: 'Start one with mlflow server, and set MLFLOW_TRACKING_URI=http://127.0.0.1:5000',
    });
  }
  const token = env.MLFLOW_TRACKING_TOKEN;
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const base = `${uri.replace(/\/$/, '')}/api/2.0/mlflow`;
  const post = (path: string, body: object) => postJson(fetchFrom, `${base}/${path}`, body, headers);

  let runId: Promise<string> | undefined;
  const begin = async (): Promise<string> => {
    const experiment = env.MLFLOW_EXPERIMENT_NAME ?? 'heed';
    const found = await fetchFrom(
      `${base}/experiments/get-by-name?experiment_name=${encodeURIComponent(experiment)}`,
      { headers },
    );
    const experimentId = found.ok
      ? ((await found.json()) as { experiment: { experiment_id: string } }).experiment.experiment_id
      : ((await post('experiments/create', { name: experiment })) as { experiment_id: string }).experiment_id;
    const created = (await post('runs/create', {
      experiment_id: experimentId,
      run_name: name,
      start_time: now(),
      // Longer tags are refused.
      tags: [{ key: 'heed.config', value: configText.slice(0, 5000) }],
    })) as { run: { info: { run_id: string } } };
    return created.run.info.run_id;
  };
  const theRun = (): Promise<string> => {
    runId ??= begin();
    // A server that was not there may be so the next time.
    runId.catch(() => {
      runId = undefined;
    });
    return runId;
  };
  return remoteSink({
    name: 'mlflow',
    warn,
    async send(records) {
      const run_id = await theRun();
      const metrics = records.flatMap((record) => {
        const { step, values } = splitRecord(record);
        return values.map(([key, value]) => ({ key, value, step, timestamp: now() }));
      });
      for (let start = 0; start < metrics.length; start += mostMetrics)
        await post('runs/log-batch', { run_id, metrics: metrics.slice(start, start + mostMetrics) });
    },
    async finish(outcome) {
      await post('runs/update', { run_id: await theRun(), status: statuses[outcome], end_time: now() });
    },
  });
}
