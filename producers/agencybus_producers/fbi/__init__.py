"""The FBI's Wanted API (https://www.fbi.gov/wanted/api) as alerts on wanted persons, and on nobody else."""
