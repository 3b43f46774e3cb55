import type { AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import packageJson from './package.json' with { type: 'json' }
import { styleModels, type ModelChoice } from './services/replicate/models.ts'
import { databaseAddress } from './services/store/database-address.ts'

/** The part of the configuration that each start logs for the operator. None of it is secret. */
export interface StartLineConfig extends ModelChoice {
  REPLICATE_API_URL: string
  REPLICATE_WEBHOOKS: 'auto' | 'on' | 'off'
  PUBLIC_URL?: string | undefined
  STUDIO: 'on' | 'off'
  CALLBACK_SECRET?: string | undefined
  DATABASE_URL?: string | undefined
  DATA_DIR: string
  S3_BUCKET?: string | undefined
  S3_PREFIX: string
}

export interface StartedFeatures {
  /** whether Replicate is asked to send webhooks to this service */
  webhooks: boolean
  /** whether there is an ffmpeg that makes posters */
  ffmpeg: boolean
  /** where metrics are served; undefined if they are not */
  metrics: AddressInfo | undefined
  /** who may use the service */
  access: string
}

/**
 * Describes the started service for the log.
 */
export function startLine (config: StartLineConfig, features: StartedFeatures, addresses: Array<AddressInfo | string>) {
  const origins = addresses.map(formatAddress)
  return {
    version: packageJson.version,
    node: process.version,
    store: describeStore(config),
    videos: describeArchive(config),
    posters: features.ffmpeg ? 'of the model, or by ffmpeg' : 'of the model only: no ffmpeg',
    models: styleModels(config),
    // The origin leaves out a user name and a password.
    replicate: new URL(config.REPLICATE_API_URL).origin,
    webhooks: features.webhooks ? 'on' : `off: ${explainWebhooksOff(config)}`,
    callbacks: config.CALLBACK_SECRET === undefined ? 'off: no CALLBACK_SECRET' : 'on',
    metrics: features.metrics === undefined ? 'off: no METRICS_PORT' : `${formatAddress(features.metrics)}/metrics`,
    access: features.access,
    studio: config.STUDIO === 'on' ? `${config.PUBLIC_URL ?? origins[0]}/` : 'off: STUDIO',
    addresses: origins
  }
}

function formatAddress (listening: AddressInfo | string): string {
  if (typeof listening === 'string') return listening
  const { address, family, port } = listening
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

function describeStore ({ DATABASE_URL: databaseUrl, DATA_DIR: dataDir }: StartLineConfig): string {
  if (databaseUrl !== undefined) return `PostgreSQL ${databaseAddress(databaseUrl)}`
  return dataDir === ':memory:' ? 'SQLite in memory: tasks are lost at the end' : `SQLite in ${resolve(dataDir)}`
}

function describeArchive ({ S3_BUCKET: bucket, S3_PREFIX: prefix, DATA_DIR: dataDir }: StartLineConfig): string {
  if (bucket !== undefined) return `bucket ${bucket}/${prefix}`
  return dataDir === ':memory:' ? 'temporary folder: videos are lost at the end' : `folder ${resolve(dataDir, 'videos')}`
}

function explainWebhooksOff ({ REPLICATE_WEBHOOKS: mode, PUBLIC_URL: publicUrl }: StartLineConfig): string {
  if (mode === 'off') return 'REPLICATE_WEBHOOKS'
  return publicUrl === undefined ? 'no PUBLIC_URL' : 'PUBLIC_URL is not https'
}
