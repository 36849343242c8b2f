// Uploads a recording with tus-js-client, in requests of 5 MiB; pauses once in the middle and resumes from what the server has.
//
//   node upload.mjs SERVER TOKEN BOOK FILE

import { createReadStream, statSync } from 'node:fs'
import { basename } from 'node:path'
import { Upload } from 'tus-js-client'

const [server, token, book, path] = process.argv.slice(2)
const size = statSync(path).size
let isPaused = false

function upload(options) {
  return new Promise((resolve, reject) => {
    const sending = new Upload(createReadStream(path), {
      endpoint: `${server}/v1/uploads`,
      headers: { Authorization: `Bearer ${token}` },
      metadata: { book, filename: basename(path), filetype: 'audio/wav' },
      uploadSize: size,
      chunkSize: 5 << 20,
      retryDelays: [0, 200, 1000],
      onError: reject,
      onSuccess: () => resolve(sending.url),
      onChunkComplete: async (_, accepted) => {
        if (isPaused || accepted < size / 2) return
        isPaused = true
        await sending.abort()
        resolve(sending.url)
      },
      ...options,
    })
    sending.start()
  })
}

const url = await upload({})
if (!isPaused) throw new Error('the upload ended before it was paused')
await upload({ uploadUrl: url })
const head = await fetch(url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } })
const offset = Number(head.headers.get('upload-offset'))
if (offset !== size) throw new Error(`${offset} of ${size} bytes are stored`)
