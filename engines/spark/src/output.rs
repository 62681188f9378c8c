//! A driver's output in Cloud Storage: `driveroutput.000000000`, `.000000001` and so on.
//!
//! Read by name, one after another, without listing. A chunk may grow until the next one is there. After a crash the
//! output is read from its beginning, so lines may be in the log twice, but none is missing.

use oxidag_google::{Bucket, ObjectPlace};
use oxidag_plugin_api::Result;

use crate::lines::Lines;
use crate::remote::Tell;

/// The output's chunks, by number.
trait Chunks: Sync {
    /// What one holds; `None` when it is not there (yet).
    fn get(&self, number: u32) -> impl Future<Output = Result<Option<Vec<u8>>>> + Send;
}

/// Chunks in a bucket.
struct Objects<'a> {
    bucket: &'a Bucket,
    base: ObjectPlace,
}

impl Chunks for Objects<'_> {
    async fn get(&self, number: u32) -> Result<Option<Vec<u8>>> {
        let object = format!("{}.{number:09}", self.base.object);
        let place = ObjectPlace { bucket: self.base.bucket.clone(), object };
        self.bucket.read(&place).await
    }
}

/// How far the output has been read.
#[derive(Debug, Default)]
pub(crate) struct Output {
    base: Option<ObjectPlace>,
    chunk: u32,
    offset: usize,
    lines: Lines,
}

impl Output {
    /// Where it is, once the service tells.
    pub(crate) fn lies_at(&mut self, uri: &str) {
        if self.base.is_none() {
            self.base = ObjectPlace::parse(uri);
        }
    }

    /// Tells the lines that are new, chunk by chunk; with `ended` the last one too, even if it is not whole.
    ///
    /// # Errors
    ///
    /// When the bucket cannot be read; what has not been told then is not lost.
    pub(crate) async fn read(&mut self, bucket: &Bucket, ended: bool, tell: Tell<'_>) -> Result<()> {
        match &self.base {
            Some(base) => self.advance(&Objects { bucket, base: base.clone() }, ended, tell).await,
            None => Ok(()),
        }
    }

    async fn advance(&mut self, chunks: &impl Chunks, ended: bool, tell: Tell<'_>) -> Result<()> {
        let mut content = chunks.get(self.chunk).await?;
        while let Some(current) = content {
            let next = chunks.get(self.chunk + 1).await?;
            // Once there is a next chunk this one is complete, which it may not have been when it was read.
            let current =
                if next.is_some() { chunks.get(self.chunk).await?.unwrap_or(current) } else { current };
            // What is told is taken note of in the same step: an error, or a future that is dropped, loses nothing.
            tell(self.lines.push(current.get(self.offset..).unwrap_or_default()));
            (self.chunk, self.offset) = if next.is_some() {
                (self.chunk + 1, 0)
            } else {
                (self.chunk, current.len().max(self.offset))
            };
            content = next;
        }
        if ended {
            tell(self.lines.finish().into_iter().collect());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxidag_plugin_api::Error;
    use std::sync::Mutex;

    /// What the bucket holds now, and what it will hold after so many reads.
    #[derive(Default)]
    struct Memory {
        chunks: Mutex<Vec<&'static str>>,
        later: Mutex<Option<(u32, Vec<&'static str>)>>,
        /// From this chunk on, it cannot be read.
        broken: Option<u32>,
    }

    impl Memory {
        fn holds(&self, chunks: &[&'static str]) {
            *self.chunks.lock().unwrap() = chunks.to_vec();
        }
    }

    /// What one reading tells.
    async fn advance(output: &mut Output, memory: &Memory, ended: bool) -> Result<Vec<String>> {
        let mut all = Vec::new();
        output.advance(memory, ended, &mut |lines| all.extend(lines)).await.map(|()| all)
    }

    impl Chunks for Memory {
        async fn get(&self, number: u32) -> Result<Option<Vec<u8>>> {
            if self.broken.is_some_and(|broken| number >= broken) {
                return Err(Error::transient("away"));
            }
            let later = self.later.lock().unwrap().take();
            match later {
                Some((0, chunks)) => self.holds(&chunks),
                Some((reads, chunks)) => *self.later.lock().unwrap() = Some((reads - 1, chunks)),
                None => {}
            }
            let chunks = self.chunks.lock().unwrap();
            Ok(chunks.get(number as usize).map(|text| text.as_bytes().to_vec()))
        }
    }

    #[tokio::test]
    async fn a_chunk_grows_until_the_next_is_there() {
        let (mut output, memory) = (Output::default(), Memory::default());
        assert!(advance(&mut output, &memory, false).await.unwrap().is_empty());
        memory.holds(&["a\nb"]);
        assert_eq!(advance(&mut output, &memory, false).await.unwrap(), ["a"]);
        memory.holds(&["a\nbb\nc", "c\n", "d"]);
        assert_eq!(advance(&mut output, &memory, false).await.unwrap(), ["bb", "cc"]);
        assert_eq!(advance(&mut output, &memory, true).await.unwrap(), ["d"]);
        assert!(advance(&mut output, &memory, true).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_came_between_two_reads_is_not_lost() {
        for reads in 0..3 {
            let (mut output, memory) = (Output::default(), Memory::default());
            memory.holds(&["a\n"]);
            *memory.later.lock().unwrap() = Some((reads, vec!["a\nb\n", "c\n"]));
            let mut all = advance(&mut output, &memory, false).await.unwrap();
            all.extend(advance(&mut output, &memory, true).await.unwrap());
            assert_eq!(all, ["a", "b", "c"], "after {reads} reads");
        }
    }

    #[tokio::test]
    async fn an_error_loses_no_line() {
        let (mut output, mut memory) = (Output::default(), Memory::default());
        memory.holds(&["a\n", "b\n"]);
        memory.broken = Some(1);
        advance(&mut output, &memory, false).await.unwrap_err();
        memory.broken = None;
        assert_eq!(advance(&mut output, &memory, false).await.unwrap(), ["a", "b"]);
    }

    #[tokio::test]
    async fn a_long_output_is_told_chunk_by_chunk_and_goes_on_where_it_broke_off() {
        let (mut output, mut memory) = (Output::default(), Memory::default());
        memory.holds(&["a\nb", "\nc\n", "d\n"]);
        memory.broken = Some(2);
        let mut told = Vec::new();
        output.advance(&memory, false, &mut |lines| told.push(lines)).await.unwrap_err();
        assert_eq!(told, [["a"]]);
        memory.broken = None;
        output.advance(&memory, false, &mut |lines| told.push(lines)).await.unwrap();
        assert_eq!(told[1..], [["b", "c"].as_slice(), &["d"]]);
    }
}
