import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import type { Test } from 'tap'
import { S3Server } from '../../harness/s3-server.ts'
import { S3Archive } from '../../services/videos/s3-archive.ts'

/** An archive in a bucket of a real S3 server, which stops when the test ends, and the settings that name the same archive. */
export async function createBucket (t: Test) {
  const server = await S3Server.start()
  t.teardown(() => server.stop())
  const { endpoint, region, credentials } = server
  const [bucket, prefix] = ['videos', 'dreamreel/']
  await new S3Client({ endpoint, region, credentials, forcePathStyle: true }).send(new CreateBucketCommand({ Bucket: bucket }))
  const archive = new S3Archive({ bucket, prefix, endpoint, region, credentials })
  t.teardown(() => archive.close())
  const env = {
    S3_BUCKET: bucket,
    S3_PREFIX: prefix,
    S3_ENDPOINT: endpoint,
    S3_REGION: region,
    S3_ACCESS_KEY_ID: credentials.accessKeyId,
    S3_SECRET_ACCESS_KEY: credentials.secretAccessKey
  }
  return { server, archive, env }
}
